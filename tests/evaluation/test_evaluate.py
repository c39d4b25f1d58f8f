"""The whole of evaluation on small tables of predictions."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import confusion_matrix, f1_score, roc_auc_score

from sonobalance.config import EvaluationSettings
from sonobalance.errors import InputError
from sonobalance.evaluation.evaluate import evaluate_predictions
from sonobalance.evaluation.predictions import classes_of, read_predictions, write_predictions

CLASSES = ("benign", "malignant", "normal")
FAST = EvaluationSettings(resamples=300)


def table(skills, classes=CLASSES, n=90, seed=0):
    """Arms that differ in skill on the same images; three images per group."""
    rows = []
    for part in ("val", "test"):
        rng = np.random.default_rng([seed, part == "test"])
        targets = rng.permutation(np.arange(n) % len(classes))
        noise = rng.normal(size=(n, len(classes)))
        for arm, skill in skills.items():
            p = np.exp(noise + skill * np.eye(len(classes))[targets])
            p /= p.sum(1, keepdims=True)
            rows += [
                {
                    "arm": arm, "id": f"{part}/{i}", "path": f"{i}.png", "part": part,
                    "label": classes[targets[i]], "group": f"{part}-{i // 3}",
                    "predicted": classes[p[i].argmax()],
                    **{f"p_{c}": p[i, k] for k, c in enumerate(classes)},
                }
                for i in range(n)
            ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def frame():
    return table({"none": 0.5, "dual-iterative": 2.5})


@pytest.fixture(scope="module")
def document(frame):
    return evaluate_predictions(frame, FAST, seed=0)


def test_document_is_json_and_complete(document):
    json.dumps(document, allow_nan=False)
    assert document["classes"] == list(CLASSES)
    assert (document["n"], document["groups"], document["n_val"]) == (90, 30, 90)
    names = [m["name"] for m in document["metrics"]]
    for scores in document["arms"].values():
        assert list(scores) == names
        for name, x in scores.items():
            assert x["low"] <= x["high"], name
            if name != "ece":
                assert x["low"] <= x["value"] <= x["high"], name


def test_only_test_rows_count(frame, document):
    test = frame[(frame.arm == "none") & (frame.part == "test")]
    scores = document["arms"]["none"]
    assert scores["accuracy"]["value"] == pytest.approx((test.label == test.predicted).mean())
    assert scores["auc_normal"]["value"] == pytest.approx(
        roc_auc_score(test.label == "normal", test.p_normal)
    )
    expected = confusion_matrix(test.label, test.predicted, labels=CLASSES)
    assert document["confusion"]["none"] == expected.tolist()


def test_a_clearly_better_arm_is_called_better_in_every_direction(document):
    said = {row["metric"]: row["verdict"] for row in document["paired"]}
    assert {said[m] for m in ("accuracy", "macro_f1", "macro_auc", "brier", "log_loss")} == {
        "better"
    }
    brier = next(row for row in document["paired"] if row["metric"] == "brier")
    assert brier["high"] < 0
    assert "better" in brier["sentence"]


def test_a_worse_arm_is_called_worse_and_a_copy_is_not_called_different(frame):
    flipped = frame.replace({"arm": {"none": "dual-iterative", "dual-iterative": "none"}})
    said = {
        r["metric"]: r["verdict"] for r in evaluate_predictions(flipped, FAST, seed=0)["paired"]
    }
    assert said["accuracy"] == said["log_loss"] == "worse"
    same = evaluate_predictions(table({"none": 1.0, "copy": 1.0}), FAST, seed=0)["paired"]
    assert {row["verdict"] for row in same} == {"no clear difference"}
    assert {row["difference"] for row in same} == {0.0}


def test_paired_interval_is_narrower_than_the_arms_own(document):
    """Arms share their noise here, so pairing must pay."""
    similar = evaluate_predictions(table({"none": 1.0, "b": 1.2}), FAST, seed=0)
    row = next(r for r in similar["paired"] if r["metric"] == "macro_auc")
    own = similar["arms"]["b"]["macro_auc"]
    assert row["high"] - row["low"] < 0.5 * (own["high"] - own["low"])


def test_every_arm_is_compared_with_every_reference():
    frame = table({"none": 0.5, "class-weights": 1.0, "dual-iterative": 2.5})
    rows = evaluate_predictions(
        frame, FAST, seed=0, references=("none", "class-weights", "over-sampling")
    )["paired"]
    assert {(row["arm"], row["against"]) for row in rows} == {
        ("class-weights", "none"), ("dual-iterative", "none"),
        ("none", "class-weights"), ("dual-iterative", "class-weights"),
    }  # fmt: skip
    there, back = (
        next(r for r in rows if (r["arm"], r["against"], r["metric"]) == (a, b, "macro_auc"))
        for a, b in (("none", "class-weights"), ("class-weights", "none"))
    )
    assert there["difference"] == -back["difference"]
    assert there["low"] == pytest.approx(-back["high"])


def test_same_seed_same_numbers_and_row_order_does_not_matter(frame, document):
    shuffled = frame.sample(frac=1, random_state=1)
    assert evaluate_predictions(shuffled, FAST, seed=0) == document
    assert evaluate_predictions(frame, FAST, seed=1) != document


def test_binary_classes():
    d = evaluate_predictions(table({"none": 1.0}, ("benign", "malignant")), FAST, seed=0)
    scores = d["arms"]["none"]
    assert scores["macro_auc"]["value"] == pytest.approx(scores["auc_benign"]["value"])
    assert scores["recall_benign"]["value"] == scores["specificity_malignant"]["value"]
    assert d["paired"] == []


def test_a_class_absent_from_test_is_named_and_has_no_numbers(frame):
    rare = frame[~((frame.part == "test") & (frame.label == "normal"))]
    d = evaluate_predictions(rare, FAST, seed=0)
    assert d["arms"]["none"]["recall_normal"] == {"value": None, "low": None, "high": None}
    for name in ("specificity_normal", "precision_normal", "auc_normal"):
        assert d["arms"]["none"][name]["value"] is None
    f1 = [
        f1_score(test.label == c, test.predicted == c)
        for test in [rare[(rare.arm == "none") & (rare.part == "test")]]
        for c in ("benign", "malignant")
    ]
    assert d["arms"]["none"]["macro_f1"]["value"] == pytest.approx(np.mean(f1))
    assert d["roc"]["none"]["normal"] is None
    assert any("no normal image" in text for text in d["warnings"])
    json.dumps(d, allow_nan=False)


def test_few_groups_are_named():
    d = evaluate_predictions(table({"none": 1.0}, n=9), FAST, seed=0)
    assert any("independent group(s) of benign" in text for text in d["warnings"])


def test_a_perfect_arm_still_has_a_width():
    d = evaluate_predictions(table({"none": 50.0}), FAST, seed=0)
    perfect = d["arms"]["none"]["accuracy"]
    assert perfect["value"] == perfect["high"] == 1.0
    assert perfect["low"] == pytest.approx(30 / (30 + 1.959964**2))  # Wilson at 30 of 30 groups


def test_two_groups_give_no_interval_and_no_verdict():
    d = evaluate_predictions(table({"none": -50.0, "dual-iterative": 50.0}, n=6), FAST, seed=0)
    assert d["groups"] == 2
    scores = [x for arm in d["arms"].values() for x in arm.values()]
    scores += [d["conformal"]["none"][name] for name in ("coverage", "mean_size")]
    scores += [point["sensitivity"] for point in d["operating"]["none"].values()]
    assert {(x["low"], x["high"]) for x in scores} == {(None, None)}
    gained = next(r for r in d["paired"] if r["metric"] == "accuracy")
    assert gained["difference"] == 1
    assert {row["verdict"] for row in d["paired"]} == {"no clear difference"}
    assert "no interval" in gained["sentence"]


def test_a_class_of_one_group_decides_nothing():
    """Its recall rises by the same in every resample, and the means over classes with it."""
    frame = table({"none": -50.0, "dual-iterative": 50.0})
    frame.loc[(frame.part == "test") & (frame.label == "malignant"), "group"] = "one"
    d = evaluate_predictions(frame, FAST, seed=0)
    said = {row["metric"]: row["verdict"] for row in d["paired"]}
    undecided = ("recall_malignant", "auc_malignant", "balanced_accuracy", "macro_f1", "macro_auc")
    assert {said[name] for name in undecided} == {"no clear difference"}
    assert {said[name] for name in ("accuracy", "recall_benign", "auc_benign", "brier")} == {
        "better"
    }
    assert any("of malignant: its numbers and the means" in text for text in d["warnings"])


def test_perfect_operating_points_and_sets_have_the_width_of_their_groups():
    d = evaluate_predictions(table({"none": 50.0}), FAST, seed=0)
    z2 = 1.959964**2
    groups = d["groups_by_class"]["malignant"]
    found = d["operating"]["none"]["malignant"]["sensitivity"]
    assert found["value"] == found["high"] == 1.0
    assert found["low"] == pytest.approx(groups / (groups + z2))
    assert d["operating"]["none"]["malignant"]["specificity"]["low"] < 1
    loose = FAST.model_copy(
        update={"coverage": 0.999}
    )  # more than VAL can show: every class enters
    covered = evaluate_predictions(table({"none": 1.0}), loose, seed=0)["conformal"]["none"]
    assert covered["coverage"]["value"] == 1.0
    assert covered["coverage"]["low"] == pytest.approx(30 / (30 + z2))


def tempered(frame, temperature):
    """The table of a model whose logits were divided by a temperature before they were written."""
    columns = [f"p_{c}" for c in CLASSES]
    p = frame[columns].to_numpy() ** (1 / temperature)
    return frame.assign(**dict(zip(columns, (p / p.sum(1, keepdims=True)).T, strict=True)))


def test_the_temperature_in_the_predictions_is_shown_and_taken_out_again(frame, document):
    used = {"none": 2.0, "dual-iterative": 2.0}
    d = evaluate_predictions(tempered(frame, 2.0), FAST, seed=0, temperatures=used)
    for arm in used:
        found = d["calibration"][arm]
        assert found["temperature"] == 2.0
        for name in ("ece", "brier", "log_loss"):
            assert found["calibrated"][name] == d["arms"][arm][name]
            assert found["uncalibrated"][name] == pytest.approx(document["arms"][arm][name])


def test_a_table_without_a_model_is_scored_with_a_temperature_of_its_own(document):
    found, scores = document["calibration"]["none"], document["arms"]["none"]
    assert found["uncalibrated"]["ece"] == scores["ece"]
    assert found["temperature"] != pytest.approx(1, abs=0.05)
    assert found["calibrated"]["log_loss"]["value"] < scores["log_loss"]["value"]


def test_without_val_nothing_is_fitted(frame):
    d = evaluate_predictions(frame[frame.part == "test"], FAST, seed=0)
    assert d["n_val"] == 0
    assert d["conformal"]["none"] is None
    assert d["calibration"]["none"]["temperature"] is None
    assert d["operating"]["none"]["malignant"] is None


def test_val_fits_and_test_measures(frame, document):
    d = document["operating"]["none"]["malignant"]
    val = frame[(frame.arm == "none") & (frame.part == "val") & (frame.label == "malignant")]
    assert (val.p_malignant >= d["threshold"]).mean() >= 0.95
    test = frame[(frame.arm == "none") & (frame.part == "test") & (frame.label == "malignant")]
    assert d["sensitivity"]["value"] == pytest.approx((test.p_malignant >= d["threshold"]).mean())
    sets = document["conformal"]["none"]
    assert sets["coverage"]["low"] <= 0.9 <= sets["coverage"]["high"]
    assert (
        sets["mean_size"]["value"] > document["conformal"]["dual-iterative"]["mean_size"]["value"]
    )


def test_decision_curve_by_hand(frame, document):
    curve = document["decision"]["none"]["malignant"]
    test = frame[(frame.arm == "none") & (frame.part == "test")]
    i = 12
    t = curve["threshold"][i]
    acted, sick = test.p_malignant >= t, test.label == "malignant"
    benefit = (acted & sick).mean() - (acted & ~sick).mean() * t / (1 - t)
    assert curve["net_benefit"][i] == pytest.approx(benefit)


def test_roc_runs_from_corner_to_corner(document):
    curve = document["roc"]["none"]["benign"]
    assert (curve["fpr"][0], curve["tpr"][0]) == (0, 0)
    assert (curve["fpr"][-1], curve["tpr"][-1]) == (1, 1)
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    assert area == pytest.approx(document["arms"]["none"]["auc_benign"]["value"])


def test_file_and_table_give_the_same(tmp_path, frame, document):
    path = tmp_path / "predictions.csv"
    write_predictions(path, frame)
    assert classes_of(read_predictions(path)) == CLASSES
    assert evaluate_predictions(path, FAST, seed=0) == document


def test_arms_about_different_images_are_refused(frame):
    with pytest.raises(InputError, match="same test images"):
        evaluate_predictions(frame.drop(frame[frame.part == "test"].index[-1]), FAST, seed=0)


def test_no_test_rows_are_refused(frame):
    with pytest.raises(InputError, match="TEST rows"):
        evaluate_predictions(frame[frame.part == "val"], FAST, seed=0)


def test_evaluation_does_not_import_torch():
    code = "import sys, sonobalance.evaluation.evaluate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
