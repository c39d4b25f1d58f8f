"""Arms over folds and seeds: values, pairing, and intervals that know the folds overlap."""

import numpy as np
import pytest
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score

from sonobalance.config import EvaluationSettings
from sonobalance.errors import InputError
from sonobalance.evaluation.intervals import group_weights, percentile_interval
from sonobalance.evaluation.metrics import metrics_of
from sonobalance.evaluation.pairing import METHOD, corrected_resampled_t
from sonobalance.evaluation.predictions import ArmPredictions
from sonobalance.evaluation.repeated import evaluate_repeated
from sonobalance.evaluation.resampled import drawn, metric_interval

CLASSES = ("benign", "malignant", "normal")
FAST = EvaluationSettings(resamples=300)


def blocks(skill, seeds=2, folds=3, n=40, noise_seed=0):
    """Predictions of an arm; two images per group, the same images in every seed."""
    out = {}
    for seed in range(seeds):
        for fold in range(folds):
            rng = np.random.default_rng([noise_seed, seed, fold])
            ids = tuple(f"{fold:02d}-{i:03d}" for i in range(n))
            targets = np.arange(n) // 2 % len(CLASSES)
            p = np.exp(rng.normal(size=(n, 3)) + skill * np.eye(3)[targets])
            groups = np.array([f"{fold}-{i // 6}" for i in range(n)])
            out[seed, fold] = ArmPredictions(ids, groups, targets, p / p.sum(1, keepdims=True))
    return out


def evaluated(arms, **changes):
    given = {"seed": 0, "references": ("none",), "test_to_train": 0.5} | changes
    return evaluate_repeated(arms, CLASSES, FAST, **given)


def test_counted_metrics_are_pooled_over_folds_and_ranks_averaged():
    arm = blocks(1.0)
    scores = evaluated({"none": arm})["arms"]["none"]
    f1, accuracy = [], []
    for seed in range(2):
        targets = np.concatenate([arm[seed, f].targets for f in range(3)])
        predicted = np.concatenate([arm[seed, f].probabilities.argmax(1) for f in range(3)])
        f1.append(f1_score(targets, predicted, average="macro"))
        accuracy.append(accuracy_score(targets, predicted))
    auc = [roc_auc_score(b.targets, b.probabilities, multi_class="ovr") for b in arm.values()]
    assert scores["macro_f1"]["value"] == pytest.approx(np.mean(f1))
    assert scores["accuracy"]["value"] == pytest.approx(np.mean(accuracy))
    assert scores["macro_auc"]["value"] == pytest.approx(np.mean(auc))


def test_an_image_counts_once_however_often_it_was_predicted():
    result = evaluated({"none": blocks(1.0, seeds=3)})
    assert (result["n"], result["groups"]) == (120, 21)
    once = evaluated({"none": blocks(1.0, seeds=1)})["arms"]["none"]["accuracy"]
    same = {(s, f): blocks(1.0, seeds=1)[0, f] for s in range(3) for f in range(3)}
    thrice = evaluated({"none": same})["arms"]["none"]["accuracy"]
    assert thrice == pytest.approx(once)  # repeating the same predictions must not narrow it


def test_corrected_t_is_the_textbook_formula():
    differences = np.array([0.02, -0.01, 0.05, 0.03, 0.01])
    mean, half = corrected_resampled_t(differences, 0.25, 0.95)
    s2 = sum((d - 0.02) ** 2 for d in differences) / 4
    assert mean == pytest.approx(0.02)
    assert half == pytest.approx(student.ppf(0.975, 4) * np.sqrt((1 / 5 + 0.25) * s2))
    assert np.isnan(corrected_resampled_t(differences[:1], 0.25, 0.95)[1])


def test_corrected_t_covers_where_the_plain_t_does_not():
    """Differences that share a part of their noise, as models of overlapping folds do."""
    rng = np.random.default_rng(0)
    ratio, folds, runs = 0.25, 10, 2000
    shared = ratio / (1 + ratio)  # correlation that Nadeau & Bengio assume
    common = rng.normal(size=(runs, 1)) * np.sqrt(shared)
    own = rng.normal(size=(runs, folds)) * np.sqrt(1 - shared)
    draws = common + own
    plain = 0
    covered = 0
    for row in draws:
        mean, half = corrected_resampled_t(row, ratio, 0.95)
        covered += abs(mean) <= half
        plain += abs(mean) <= student.ppf(0.975, folds - 1) * row.std(ddof=1) / np.sqrt(folds)
    assert 0.93 < covered / runs < 0.98
    assert plain / runs < 0.85


def test_the_interval_of_a_difference_holds_both_of_its_parts():
    rows = evaluated({"none": blocks(0.5), "b": blocks(1.5, noise_seed=1)})["paired"]
    assert {(row["arm"], row["against"]) for row in rows} == {("b", "none")}
    for row in rows:
        assert row["low"] == min(row["t_low"], row["bootstrap_low"])
        assert row["high"] == max(row["t_high"], row["bootstrap_high"])
        assert row["t_high"] - row["difference"] == pytest.approx(row["difference"] - row["t_low"])


def test_a_clear_gain_is_called_better_and_equal_arms_are_not_called_different():
    rows = evaluated({"none": blocks(0.2), "b": blocks(3.0)})["paired"]
    assert {r["verdict"] for r in rows if r["metric"] in ("accuracy", "macro_f1")} == {"better"}
    rows = evaluated({"none": blocks(1.0), "b": blocks(1.0)})["paired"]
    assert {row["verdict"] for row in rows} == {"no clear difference"}


def test_one_pair_of_models_is_judged_by_the_bootstrap_alone():
    """With one fold and seed there is no spread between models, but there are patients."""
    rows = evaluated({"none": blocks(0.2, 1, 1), "b": blocks(3.0, 1, 1)})["paired"]
    assert {row["t_low"] for row in rows} == {row["t_high"] for row in rows} == {None}
    for row in rows:
        assert row["low"] == row["bootstrap_low"] is not None
        assert row["high"] == row["bootstrap_high"] is not None
    assert {r["verdict"] for r in rows if r["metric"] in ("accuracy", "macro_f1")} == {"better"}
    assert "A single pair of models gives no t interval" in METHOD


def test_patients_that_are_too_few_are_not_made_up_for_by_models():
    """Five groups, but all malignant images are of one: the t interval may not stand alone."""

    def alike(skill):
        made = blocks(skill, seeds=3, folds=1)
        for block in made.values():
            block.groups[block.targets == 1] = "one"
        return made

    result = evaluated({"none": alike(0.2), "b": alike(3.0)})
    row = next(r for r in result["paired"] if r["metric"] == "recall_malignant")
    assert row["t_low"] is not None
    assert (row["low"], row["verdict"]) == (None, "no clear difference")
    assert result["arms"]["b"]["recall_malignant"]["low"] is None
    assert result["arms"]["b"]["recall_benign"]["low"] is not None


def test_a_common_test_set_gets_the_bootstrap_alone():
    rows = evaluated({"none": blocks(0.2), "b": blocks(3.0)}, test_to_train=None)["paired"]
    assert all("t_low" not in row and row["low"] is not None for row in rows)


def test_arms_on_different_images_are_refused():
    with pytest.raises(InputError, match="same folds and seeds"):
        evaluated({"none": blocks(1.0), "b": blocks(1.0, folds=2)})
    with pytest.raises(InputError, match="the same images of seed 0, fold 0"):
        evaluated({"none": blocks(1.0), "b": blocks(1.0, n=30)})


def test_the_interval_of_ece_holds_its_value_in_run_and_benchmark_and_no_other_moves():
    """Answers as right as they are confident, bin by bin: every resample is worse."""
    n = 400
    confidence = np.repeat([0.55, 0.65, 0.75, 0.85, 0.95], n // 5)
    wrong = np.concatenate([np.arange(n // 5) < round((1 - c) * n / 5) for c in confidence[::80]])
    ids = tuple(f"{i:03d}" for i in range(n))
    p = np.stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2], 1)
    p[::3] = p[::3][:, [1, 0, 2]]
    p[1::3] = p[1::3][:, [2, 1, 0]]
    targets = np.where(wrong, (p.argmax(1) + 1) % 3, p.argmax(1))
    data = ArmPredictions(ids, np.array(ids), targets, p)
    weights = group_weights(data.groups, 300, np.random.default_rng(0), targets)
    found = evaluated({"none": {(0, 0): data}})["arms"]["none"]["ece"]
    assert 0 == found["low"] <= found["value"] < 0.001 < found["high"]
    for metric in metrics_of(CLASSES, 10):
        draw = drawn(metric, data, weights)
        interval = metric_interval(metric, data, draw, 0.95)
        plain = percentile_interval(draw.value, draw.resampled, 0.95)
        if metric.name == "ece":
            assert interval.low == 0 <= interval.value < plain.low
        else:
            assert interval == plain
