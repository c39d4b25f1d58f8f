"""Which images a step is about."""

from dataclasses import replace

import pytest
import torch
from conftest import blobs, tiny

from sonobalance.gan.batches import TrainSet


def few_and_many() -> TrainSet:
    """Images 0 to 17 of one class, 18 and 19 of another; a third class has none."""
    images = blobs(per_class=10)
    targets = torch.tensor([0] * 18 + [2] * 2)
    images = replace(images, targets=targets, classes=("many", "none", "few"))
    return TrainSet.of(images, tiny(), 0, torch.device("cpu"))


def test_classes_are_drawn_alike_and_so_are_the_images_of_each():
    n = 40_000
    choice = few_and_many().choose(n, torch.Generator().manual_seed(0))
    assert choice.targets.unique().tolist() == [0, 2]
    shares = torch.bincount(choice.places, minlength=20) / n
    # four standard deviations of a share p over n draws: 4 (p (1 - p) / n)^0.5
    assert (choice.targets == 2).float().mean() == pytest.approx(0.5, abs=0.01)
    assert shares[:18].tolist() == pytest.approx([0.5 / 18] * 18, abs=0.0033)
    assert shares[18:].tolist() == pytest.approx([0.25] * 2, abs=0.009)
    assert choice.flips.unique().tolist() == [0, 1]
    assert choice.flips.float().mean() == pytest.approx(0.5, abs=0.01)


def test_places_are_of_their_class_and_the_draw_is_that_of_the_generator():
    train = few_and_many()
    first, again = (train.choose(64, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(train.targets[first.places], first.targets)
    for name in ("targets", "places", "flips"):
        assert torch.equal(getattr(first, name), getattr(again, name))
