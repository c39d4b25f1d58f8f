import pytest
import torch
from conftest import blobs

from sonobalance.gan.framing import fill, find_frames
from sonobalance.gan.held import FEWEST_HELD, Ruler, hold_back
from sonobalance.gan.networks import Encoder


def groups_of(n, size):
    return [f"group-{i // size}" for i in range(n)]


def framed(pixels):
    return fill(pixels, find_frames(pixels))


def test_whole_groups_are_held_back_and_nothing_is_lost():
    images = blobs(per_class=60)
    groups = groups_of(120, 3)
    fit, held = hold_back(images, groups, 0.2, seed=1)
    group = dict(zip(images.ids, groups, strict=True))
    assert not {group[i] for i in fit.ids} & {group[i] for i in held.images.ids}
    assert sorted(fit.ids + held.images.ids) == sorted(images.ids)
    for target in (0, 1):
        share = (held.images.targets == target).sum() / 60
        assert 0.15 <= share <= 0.2
    assert held.apart == ("bright", "dark")
    assert held.kept_away == 120 - len(fit)


def test_images_that_are_measured_on_and_learnt_from_are_not_counted_as_kept_away():
    images = blobs(per_class=60)
    images = images.take([*range(60), *range(60, 70)])
    fit, held = hold_back(images, images.ids, 0.2, seed=0)
    assert held.apart == (images.classes[0],)
    assert held.kept_away == 70 - len(fit) < len(held.images)


def test_a_class_with_too_few_images_is_measured_on_what_was_learnt():
    images = blobs(per_class=FEWEST_HELD)
    fit, held = hold_back(images, images.ids, 0.2, seed=0)
    assert fit.ids == held.images.ids == images.ids
    assert held.apart == ()


def test_a_group_of_several_classes_is_never_held_back():
    images = blobs(per_class=60)
    groups = ["mixed" if i in (0, 60) else key for i, key in enumerate(images.ids)]
    for seed in range(5):
        fit, _ = hold_back(images, groups, 0.4, seed=seed)
        assert {"image-0", "image-60"} <= set(fit.ids)


def test_the_distance_is_small_for_images_of_the_same_kind_and_large_for_others():
    torch.manual_seed(0)
    images, others = blobs(per_class=40), blobs(per_class=40, seed=5)
    _, held = hold_back(images, images.ids, 0.3, seed=0)
    ruler = Ruler(None, Encoder(32, 4, 8), framed(images.pixels), held)
    alike, unlike = (
        ruler.distances(sign * framed(others.pixels), others.targets) for sign in (1, -1)
    )
    assert alike.keys() == {0, 1}
    for target in (0, 1):
        assert alike[target] < 0.3 < unlike[target]
        assert alike[target] == pytest.approx(0.0, abs=0.3)
