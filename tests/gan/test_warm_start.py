from dataclasses import replace

import pytest
import torch
from conftest import blobs, tiny

from sonobalance.errors import InputError, StaleError
from sonobalance.gan.places import find_snapshot
from sonobalance.gan.snapshot import read_snapshot
from sonobalance.gan.train import train_gan
from sonobalance.gan.training import start
from sonobalance.gan.warm_start import warm_start


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("other") / "gan"
    settings = tiny(objective="real_class", total_kimg=0.008)
    train_gan(blobs(), settings, seed=5, folder=folder, device=torch.device("cpu"))
    return folder


def fresh(images, **changes):
    return start(images, images.ids, tiny(**changes), seed=0, device=torch.device("cpu"), eyes=None)


def test_everything_is_taken_over_where_the_classes_are_the_same(other, cpu):
    t, images = fresh(blobs(), objective="real_class"), torch.rand(2, 1, 32, 32)
    warm_start(t, find_snapshot(other))
    source = read_snapshot(other / "snapshot.safetensors", cpu)
    noise = torch.randn(2, t.generator.noise_dim)
    inputs = torch.randn(2, 8), torch.tensor([0, 1]), noise
    same = torch.testing.assert_close  # the memory layout, hence the rounding, may differ
    same(t.generator.eval()(*inputs), source.generator(*inputs))
    same(t.encoder.eval()(images), source.encoder(images))
    for name, network in t.discriminators.items():
        mine = network.eval()(images, torch.tensor([0, 1]))
        same(mine, source.discriminators[name](images, torch.tensor([0, 1])))


def test_rows_go_by_class_name_and_new_classes_start_from_the_mean(other, cpu):
    images = replace(blobs(), classes=("alien", "bright", "dark"))
    images = replace(images, targets=images.targets + 1)
    t = fresh(images, objective="real_class")
    warm_start(t, find_snapshot(other.parent))
    source = read_snapshot(other / "snapshot.safetensors", cpu)
    mine, theirs = t.generator.class_style.weight, source.generator.class_style.weight
    assert torch.equal(mine[1:], theirs)
    torch.testing.assert_close(mine[0], theirs.mean(0))
    mine, theirs = (
        d["C"].head.score.weight.unflatten(0, (2, -1)) for d in (
            t.discriminators, source.discriminators)
    )  # fmt: skip
    assert torch.equal(mine[:, 1:], theirs)


def test_a_start_from_another_set_is_resumed_exactly_and_only_from_the_same(
    other, tmp_path, images, cpu
):
    settings = tiny(init=other)
    for total in (0.008, 0.016):
        train_gan(images, settings, seed=0, folder=tmp_path / "a", device=cpu, total_kimg=total)
    train_gan(images, settings, seed=0, folder=tmp_path / "b", device=cpu)
    a, b = ((tmp_path / n / "snapshot.safetensors").read_bytes() for n in "ab")
    assert a == b
    with pytest.raises(StaleError):
        train_gan(images, tiny(), seed=0, folder=tmp_path / "a", device=cpu)


def test_another_size_or_no_snapshot_is_refused_in_words(other, tmp_path):
    with pytest.raises(InputError, match="latent_dim"):
        warm_start(fresh(blobs(), latent_dim=16), find_snapshot(other))
    with pytest.raises(InputError, match=r"gan\.init"):
        find_snapshot(tmp_path)
