"""The numbers of a bundle against the network itself, the golden sample, refusals and sentences."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from made_up_bundle import CLASSES, SIDE, bundle_files, description, network

from sonobalance.classify.stranger import LIMIT, fit_stranger
from sonobalance.data.images import letterbox, read_upload
from sonobalance.deployment.answers import answer
from sonobalance.deployment.archive import GOLDEN, SUMS, WEIGHTS, sums_of, write_bundle
from sonobalance.deployment.check import load_verified
from sonobalance.deployment.golden import check_golden, draw_golden
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.deployment.reference import Reference, normalised
from sonobalance.deployment.strangers import FILE as STRANGER
from sonobalance.deployment.strangers import write_stranger
from sonobalance.deployment.tensors import read_tensors, write_tensors
from sonobalance.errors import InputError


def squares(n: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, SIDE, SIDE), np.uint8)


def test_probabilities_equal_the_network_by_hand(predictor):
    pixels = squares(5)
    unit = torch.from_numpy(pixels).float()[:, None] / 127.5 - 1
    with torch.no_grad():
        logits = (network()(unit) + network()(unit.flip(3))) / 2
        features = network().features(unit)
    outputs = predictor.outputs(pixels)
    np.testing.assert_allclose(outputs.logits, logits, atol=1e-5)
    np.testing.assert_allclose(outputs.features, features, atol=1e-5)
    np.testing.assert_allclose(outputs.probabilities, (logits / 0.7).softmax(1), atol=1e-6)


def test_the_batch_changes_nothing(predictor):
    pixels = squares(7)
    together = predictor.outputs(pixels).probabilities
    alone = np.concatenate([predictor.outputs(p[None]).probabilities for p in pixels])
    np.testing.assert_allclose(together, alone, atol=1e-6)


def test_images_are_letterboxed_as_for_training(predictor):
    image = np.random.default_rng(0).integers(0, 256, (50, 80), np.uint8)
    assert (predictor.squares([image])[0] == letterbox(image, SIDE)).all()


def test_the_golden_sample_is_made_of_phantoms_and_always_the_same():
    first, second = draw_golden(), draw_golden()
    assert first == second
    assert sorted(first) == [f"golden-{kind}.png" for kind in CLASSES]
    assert read_upload(first["golden-normal.png"])[0].ndim == 2


@pytest.mark.parametrize("change", [0.1, math.nan])
def test_other_weights_do_not_pass_the_golden_sample(whole, change):
    files = {p.name: p.read_bytes() for p in whole.iterdir()}
    tensors = read_tensors(files[WEIGHTS], "x")
    name = next(name for name in tensors if name.endswith("classifier.bias"))
    moved = tensors[name] + torch.tensor([change, 0.0, 0.0])
    files[WEIGHTS] = write_tensors(tensors | {name: moved})
    del files[SUMS]
    changed = BundlePredictor.of_files(files | {SUMS: sums_of(files)}, whole)
    with pytest.raises(InputError, match="repeat its golden sample"):
        check_golden(changed, files, whole)


def test_another_reading_of_the_pixels_does_not_pass_the_golden_sample(whole, predictor):
    files = {p.name: p.read_bytes() for p in whole.iterdir()}
    files["golden-benign.png"] = files["golden-normal.png"]
    with pytest.raises(InputError, match="pixels"):
        check_golden(predictor, files, whole)
    page = json.loads(files[GOLDEN])
    files[GOLDEN] = json.dumps(page | {"images": []}).encode()
    with pytest.raises(InputError, match="golden sample"):
        check_golden(predictor, files, whole)


def test_distance_is_to_the_kth_nearest_of_normalised_features():
    train = np.array([[1, 0], [0, 2], [-3, 0]], np.float32)
    reference = Reference(normalised(train), np.array([0, 1, 2]), 1.0, 2)
    expected = [np.sqrt(2), np.sqrt(2 - np.sqrt(2))]
    found = reference.distances(np.array([[5, 0], [1, 1]], np.float32))
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    nearest = reference.nearest(np.array([1, 1], np.float32), 2)
    assert [index for index, _ in nearest] == [0, 1]


def test_images_unlike_train_are_refused_by_what_the_bundle_finds_familiar(predictor):
    rng = np.random.default_rng(0)
    usual = rng.normal(110, 30, (60, SIDE, SIDE)).clip(0, 255).astype(np.uint8)
    seen = predictor.outputs(usual).features
    pixels = torch.from_numpy(usual)[:, None]
    stranger = fit_stranger(seen[:40], pixels[:40], seen[40:], pixels[40:])
    files = bundle_files() | {STRANGER: write_stranger(stranger)}
    asked = BundlePredictor.of_files(files | {SUMS: sums_of(files)}, Path("toy"))
    assert asked.limit == LIMIT
    black, same = np.zeros((1, SIDE, SIDE), np.uint8), usual[:1]
    assert asked.answers(black)[0].refused
    assert not asked.answers(same)[0].refused
    assert asked.answers(same, [0.5])[0].refused
    assert not asked.answers(same, [0.01])[0].refused
    outputs = asked.outputs(same)
    wanted = stranger.scores(outputs.features, torch.from_numpy(same)[:, None])
    np.testing.assert_allclose(outputs.strangeness, wanted, atol=1e-6)


def test_a_bundle_that_cannot_tell_refuses_nothing(predictor):
    files = bundle_files(limit=float("inf"))
    asked = BundlePredictor.of_files(files | {SUMS: sums_of(files)}, Path("toy"))
    assert asked.limit is None
    assert not asked.answers(np.zeros((1, SIDE, SIDE), np.uint8))[0].refused


@pytest.mark.parametrize(
    ("probabilities", "predicted", "conformal", "called", "words"),
    [
        ([0.9, 0.05, 0.05], "benign", ("benign",), (), "holds benign alone"),
        ([0.5, 0.4, 0.1], "benign", ("benign", "malignant"), ("malignant",), "cannot choose"),
        ([0.34, 0.33, 0.33], "benign", tuple(CLASSES), ("malignant",), "cannot tell them apart"),
    ],
)
def test_answers_in_words(probabilities, predicted, conformal, called, words):
    got = answer(description(), np.array(probabilities), 0.1, 1.0)
    assert (got.predicted, got.conformal, got.called) == (predicted, conformal, called)
    assert words in got.sentence
    assert not got.refused


@pytest.mark.parametrize(("leaky", "words"), [(False, "On unseen test"), (True, "On test images")])
def test_test_images_with_relatives_in_train_are_not_called_unseen(leaky, words):
    got = answer(description(leaky=leaky), np.array([0.9, 0.05, 0.05]), 0.1, 1.0)
    assert words in got.sentence
    assert "not a medical device" in got.as_json()["notice"]


def test_an_empty_conformal_set_is_said():
    strict = description(
        conformal=description().conformal.model_dump() | {"cutoff": 0.99, "quantile": 0.01}
    )
    assert "undecided" in answer(strict, np.array([0.5, 0.3, 0.2]), None, None).sentence
    none = description(conformal=None)
    assert "No conformal set" in answer(none, np.array([0.5, 0.3, 0.2]), None, None).sentence


def test_a_strange_image_is_refused(tmp_path):
    folder = write_bundle(tmp_path / "strict", bundle_files(limit=0.0))
    got = BundlePredictor.load(folder).answers(squares(1))[0]
    assert got.refused
    assert got.predicted is None
    assert got.conformal == ()
    assert got.sentence.startswith("Not answered: this image is unlike the training images")


def test_examples_only_where_they_were_allowed(predictor, tmp_path):
    assert predictor.examples is None
    folder = write_bundle(tmp_path / "open", bundle_files(examples=True))
    loaded, _ = load_verified(folder)
    assert loaded.examples is not None
    assert loaded.examples.shape == (6, 1, 96, 96)
    assert "small training images" in (folder / "MODEL_CARD.md").read_text()
