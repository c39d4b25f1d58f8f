"""A bundle of a real, if tiny, run says what the run says."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from sonobalance import api, runs
from sonobalance.artefacts import splits_of
from sonobalance.classify.predict import Predictor
from sonobalance.config import Settings
from sonobalance.data.phantoms import make_phantoms
from sonobalance.deployment import build
from sonobalance.deployment.batch import predict_files
from sonobalance.deployment.check import load_verified
from sonobalance.deployment.describe import Identity, describe
from sonobalance.errors import InputError, StaleError
from sonobalance.stages import STAGES

SETTINGS = Settings.model_validate({
    "arms": ["none"],
    "audit": {"exhaustive_up_to": 0, "shortlist_size": 2},
    "classifier": {
        "backbone": "test_efficientnet", "image_size_px": 32, "epochs": 2, "batch_size": 16,
        "zoom_test": 1.3, "zoom_on": "lesion",
    },
    "evaluation": {"resamples": 100},
})  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run up to its evaluation, without a generator."""
    root = tmp_path_factory.mktemp("run")
    phantoms = make_phantoms(root / "phantoms", images=72, size_px=48)
    (root / "run").mkdir()
    made = runs.create(root / "run", phantoms, SETTINGS, None)
    for name in ("index", "audit", "split", "train", "predict", "evaluate"):
        made.perform(STAGES[name])
    return made


@pytest.fixture(scope="module")
def made(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "model"
    return api.bundle(run.folder, out=out, name="tiny", authors="us", licence="CC0")


def test_the_bundle_repeats_the_run(run, made):
    predictor, _ = load_verified(made)
    splits = splits_of(run)
    test = splits.of("test")
    with run.path("predictions.csv").open(newline="") as handle:
        said = {row["path"]: row for row in csv.DictReader(handle)}
    rows = list(predict_files(predictor, [test.file(record) for record in test]))
    assert len(rows) == len(test) > 0
    for record, row in zip(test, rows, strict=True):
        for name in predictor.classes:
            expected = float(said[record.path][f"p_{name}"])
            assert row.answer.probabilities[name] == pytest.approx(expected, abs=1e-5)


def test_a_second_look_at_the_lesion_goes_with_the_model(run, made):
    trained = Predictor.load(run.path("classifier/none"))
    for model in (trained.model, load_verified(made)[0].model):
        assert model.lesion is not None
        assert (model.zoom, model.zoom_on) == (1.3, "lesion")


def test_thresholds_sets_and_metrics_are_those_of_the_evaluation(run, made):
    page = json.loads((made / "model.json").read_text())
    evaluation = json.loads(run.path("evaluation.json").read_text())
    operating, conformal = evaluation["operating"]["none"], evaluation["conformal"]["none"]
    for name, rule in page["thresholds"].items():
        assert rule["threshold"] == operating[name]["threshold"]
    assert page["conformal"]["cutoff"] == conformal["cutoff"]
    assert page["conformal"]["quantile"] == 1 - conformal["cutoff"]
    assert (
        page["eval_metrics"]["macro_f1"]["value"]
        == (evaluation["arms"]["none"]["macro_f1"]["value"])
    )
    assert page["training_data"]["counts"]["test"] == evaluation["n_by_class"]
    assert page["name"] == "tiny"


def test_most_validation_images_are_answered(run, made):
    predictor, _ = load_verified(made)
    val = splits_of(run).of("val")
    rows = list(predict_files(predictor, [val.file(record) for record in val]))
    assert sum(row.answer.refused for row in rows) <= 1


def test_no_training_image_is_inside_unless_allowed(run, made, tmp_path):
    assert not list(made.glob("examples*"))
    opened = api.bundle(run.folder, out=tmp_path / "open", examples=True)
    predictor, _ = load_verified(opened)
    assert len(predictor.examples) == len(splits_of(run).of("train"))


def test_the_card_says_what_it_is_for(made):
    card = (made / "MODEL_CARD.md").read_text()
    for words in ("not a medical device", "CC0", "Intended use", "Limits", "macro f1", "phantoms"):
        assert words in card


def test_the_description_says_how_it_was_tested_and_what_refuses(run, made):
    page = json.loads((made / "model.json").read_text())
    assert (page["leaky"], page["confidence"], page["refuses"]) == (False, 0.95, True)
    assert any("Lee et al." in reference for reference in page["references"])
    leaky = SETTINGS.model_copy(update={"split": SETTINGS.split.model_copy(update={"leaky": True})})
    evaluation = json.loads(run.path("evaluation.json").read_text())
    evaluation["settings"]["confidence"] = 0.9
    found = describe(
        runs.Run(run.folder, leaky, run.record), splits_of(run),
        json.loads(run.path("classifier/none/model.json").read_text()), evaluation, Identity(),
        arm="none", examples=False, refuses=False,
    )  # fmt: skip
    assert (found.leaky, found.confidence, found.refuses) == (True, 0.9, False)
    assert "too good" in found.limits[0]
    assert not any("refusal" in reference for reference in found.references)


def test_a_place_that_is_taken_is_refused_before_any_work(run, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(build, "splits_of", lambda _: pytest.fail("began to work"))
    with pytest.raises(InputError, match="choose another --out"):
        api.bundle(run.folder, out=Path())


def test_a_run_whose_parts_changed_gives_no_bundle(run, tmp_path):
    shutil.copytree(run.folder, tmp_path / "run")
    with (tmp_path / "run" / "splits.csv").open("a") as handle:
        handle.write("\n")
    with pytest.raises(StaleError, match=r"splits\.csv changed since"):
        api.bundle(tmp_path / "run", out=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_an_unfinished_run_and_an_unknown_arm_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="one of none"):
        api.bundle(run.folder, out=tmp_path / "x", arm="dual")
    other = tmp_path / "other"
    other.mkdir()
    begun = runs.create(other, run.source, SETTINGS, None)
    begun.perform(STAGES["index"])
    with pytest.raises(InputError, match="finish the run first"):
        api.bundle(other, out=tmp_path / "y")


def test_the_evaluation_shows_the_temperature_of_the_model(run):
    temperature = json.loads(run.path("classifier/none/model.json").read_text())["temperature"]
    evaluation = json.loads(run.path("evaluation.json").read_text())
    found = evaluation["calibration"]["none"]
    assert found["temperature"] == temperature
    assert found["calibrated"]["ece"] == evaluation["arms"]["none"]["ece"]
    assert found["uncalibrated"]["ece"]["value"] != found["calibrated"]["ece"]["value"]
