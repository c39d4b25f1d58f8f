"""What a method is measured by stands beside the real halves at the same number of images."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from sonobalance.data.loading import LabelledImages
from sonobalance.synthesis.fidelity import split_halves, subset_kernel_distance

N, WIDTH, DRAWS = 120, 16, 4


@pytest.fixture
def train():
    targets = torch.arange(N) % 2
    ids = tuple(f"{i:03d}" for i in range(N))
    return LabelledImages(torch.zeros(N, 1, 8, 8, dtype=torch.uint8), targets, ids, ("a", "b"))


@pytest.fixture
def measured(module, train):
    """The measures of a generator that draws from the very distribution of TRAIN, and the floor."""
    rng = np.random.default_rng(0)
    real = rng.normal(size=(N, WIDTH))
    draws = [rng.normal(size=(N, WIDTH)) for _ in range(DRAWS)]
    groups = [f"group-{i // 4}" for i in range(N)]
    measures = module("gan_measures")
    found = measures.measures_of(real, draws, train, groups, away=np.arange(N) % 5 == 0, seed=3)
    return found, measures.floor_of(real, train, groups), (real, draws, groups)


def test_the_halves_are_as_many_as_those_of_the_floor(measured, module, train, monkeypatch):
    _, floor, (real, draws, groups) = measured
    measures, sizes, told = module("gan_measures"), [], []
    kid, auc = measures.subset_kernel_distance, measures.told_apart

    def sized(x, y, seed):
        sizes.append((len(x), len(y)))
        return kid(x, y, seed)

    def both(x, y, keys, seed):
        told.append((len(x), len(y), len(keys)))
        return auc(x, y, keys, seed)

    monkeypatch.setattr(measures, "subset_kernel_distance", sized)
    monkeypatch.setattr(measures, "told_apart", both)
    measures.measures_of(real, draws, train, groups, away=np.arange(N) % 5 == 0, seed=0)
    for label in ("a", "b"):
        assert sizes.count(tuple(floor["classes"][label]["n"])) >= DRAWS
    first = int(split_halves(groups, 0).sum())
    assert told[-DRAWS:] == [(first, N - first, first)] * DRAWS
    assert told[:DRAWS] == [(N, N, N)] * DRAWS


def test_a_perfect_generator_is_at_the_floor_in_the_keys_of_halves(measured):
    found, floor, _ = measured
    for label, row in found["classes"].items():
        of_halves = floor["classes"][label]
        assert row["kid_half_std"] == pytest.approx(of_halves["kid_std"], rel=0.5)
        assert row["kid_std"] < 0.8 * row["kid_half_std"]  # more images, a smaller spread
        assert abs(row["kid_half"] - of_halves["kid"]) < 3 * of_halves["kid_std"]
    assert found["probe_auc_half"] == pytest.approx(0.5, abs=0.15)


def test_the_keys_of_before_mean_what_they_meant(measured, module):
    found, _, (real, draws, _) = measured
    standardised = module("gan_quality").standardised
    mine = np.arange(N) % 2 == 1
    every = np.concatenate([standardised(draw, real)[mine] for draw in draws])
    kid, spread = subset_kernel_distance(standardised(real, real)[mine], every, 3)
    assert (found["classes"]["b"]["kid"], found["classes"]["b"]["kid_std"]) == (kid, spread)


def test_what_is_held_back_is_compared_with_what_is_learnt(module, train):
    """Held-back images that differ from the rest are as far from it as they are, by class."""
    real, away = np.random.default_rng(0).normal(size=(N, WIDTH)), np.arange(N) % 5 == 0
    real[away & (np.arange(N) % 2 == 1)] += 1
    apart = module("gan_measures").apart_of(real, train, away, seed=3)
    assert apart["a"] == pytest.approx(0, abs=0.3)
    assert apart["b"] > 1
    none = module("gan_measures").apart_of(real, train, away & (np.arange(N) % 2 == 1), seed=3)
    assert set(none) == {"b"}


def test_the_referee_is_a_setting(module, monkeypatch):
    quality, asked = module("gan_quality"), []

    def features(images, backbone, weights):
        asked.append((backbone, str(weights)))
        return np.zeros((1, 1))

    monkeypatch.setattr(quality, "extract_features", features)
    given = {"backbone": "mobilenetv2_100", "weights": Path("w"), "referee": Path("r")}
    before = quality.look(None, Namespace(**given))  # scripts without the option
    assert set(before) == {"mobilenetv2_100", quality.REFEREE}
    other = quality.look(None, Namespace(**given, referee_backbone="resnet18"))
    assert set(other) == {"mobilenetv2_100", "resnet18"}
    assert asked == [
        ("mobilenetv2_100", "w"), ("tf_mobilenet_edgetpu_100", "r"),
        ("mobilenetv2_100", "w"), ("resnet18", "r"),
    ]  # fmt: skip
    with pytest.raises(SystemExit, match="another network than mobilenetv2_100"):
        quality.look(None, Namespace(**given, referee_backbone="mobilenetv2_100"))


def test_the_command_line_knows_the_referee_and_keeps_its_default(module, monkeypatch):
    quality = module("gan_quality")
    line = ["gan_quality.py", "run", "--weights", "w"]
    monkeypatch.setattr(sys, "argv", line)
    assert quality.arguments().referee_backbone == "tf_mobilenet_edgetpu_100"
    monkeypatch.setattr(sys, "argv", [*line, "--referee-backbone", "resnet18"])
    assert quality.arguments().referee_backbone == "resnet18"
