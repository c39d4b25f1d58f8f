"""Metrics against scikit-learn, torchmetrics, and numbers worked out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torchmetrics.functional.classification import multiclass_calibration_error

from sonobalance.evaluation.metrics import (
    confusion,
    expected_calibration_error,
    metrics_of,
    values_of,
)

CLASSES = ("benign", "malignant", "normal")


def simulated(n, classes, seed, decimals=None):
    rng = np.random.default_rng(seed)
    targets = rng.permutation(np.arange(n) % classes)
    logits = rng.normal(size=(n, classes)) + 1.2 * np.eye(classes)[targets]
    if decimals is not None:
        logits = logits.round(decimals)  # ties
    p = np.exp(logits)
    return targets, p / p.sum(1, keepdims=True)


def sklearn_values(y, p, classes):
    yhat, one_hot = p.argmax(1), np.eye(len(classes))[y]
    out = {
        "accuracy": sk.accuracy_score(y, yhat),
        "balanced_accuracy": sk.balanced_accuracy_score(y, yhat),
        "macro_f1": sk.f1_score(y, yhat, average="macro"),
        "macro_auc": sk.roc_auc_score(one_hot, p, average="macro"),
        "brier": ((p - one_hot) ** 2).sum(1).mean(),
        "log_loss": sk.log_loss(y, p),
    }
    for k, name in enumerate(classes):
        out[f"recall_{name}"] = sk.recall_score(y == k, yhat == k)
        out[f"specificity_{name}"] = sk.recall_score(y != k, yhat != k)
        out[f"precision_{name}"] = sk.precision_score(y == k, yhat == k)
        out[f"auc_{name}"] = sk.roc_auc_score(y == k, p[:, k])
    return out


@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:2]])
@pytest.mark.parametrize("decimals", [None, 0])
def test_every_metric_equals_scikit_learn(classes, decimals):
    y, p = simulated(157, len(classes), seed=3, decimals=decimals)
    ours = values_of(y, p, metrics_of(classes, 10))
    for name, value in sklearn_values(y, p, classes).items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name
    assert set(ours) == {*sklearn_values(y, p, classes), "ece"}


@pytest.mark.parametrize("bins", [5, 10, 15])
def test_calibration_error_equals_torchmetrics(bins):
    y, p = simulated(300, 3, seed=1)
    theirs = multiclass_calibration_error(
        torch.from_numpy(p), torch.from_numpy(y), num_classes=3, n_bins=bins, norm="l1"
    )
    ours = expected_calibration_error(y, p, np.ones((1, 300)), bins=bins)[0]
    assert ours == pytest.approx(float(theirs), abs=1e-6)


def test_calibration_error_by_hand():
    # Two confidences: .9 right half the time (gap .4) and .6 always right (gap .4), one at 1.0.
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [1.0, 0.0]])
    y = np.array([0, 1, 0, 0])
    ours = expected_calibration_error(y, p, np.ones((1, 4)), bins=10)[0]
    # bin [.9, 1]: mean confidence 2.8 / 3, accuracy 2 / 3; bin [.6, .7): gap .4
    assert ours == pytest.approx(3 / 4 * (2.8 / 3 - 2 / 3) + 1 / 4 * 0.4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_weights_mean_repeating_images(seed):
    """A weighted metric is the metric of the images repeated that often (scikit-learn agrees)."""
    y, p = simulated(40, 3, seed, decimals=1)
    times = np.random.default_rng(seed).integers(0, 4, 40)
    times[:3] += 1  # every class stays, whatever the permutation
    repeated = np.repeat(np.arange(40), times)
    for metric in metrics_of(CLASSES, 10):
        once = metric.function(y[repeated], p[repeated], np.ones((1, len(repeated))))
        weighted = metric.function(y, p, times[None].astype(float))
        assert weighted == pytest.approx(once, nan_ok=True, abs=1e-12), metric.name


def test_a_class_absent_from_the_data_has_no_value_and_leaves_the_means():
    y, p = simulated(60, 3, seed=5)
    y = np.where(y == 2, 0, y)
    with np.errstate(all="raise"):
        ours = values_of(y, p, metrics_of(CLASSES, 10))
    of_it = ("recall_normal", "specificity_normal", "precision_normal", "auc_normal")
    assert np.isnan([ours[name] for name in of_it]).all()
    two_aucs = (ours["auc_benign"] + ours["auc_malignant"]) / 2
    assert ours["macro_auc"] == pytest.approx(two_aucs)
    two = sk.f1_score(y, p.argmax(1), average="macro", labels=[0, 1])
    assert ours["macro_f1"] == pytest.approx(two)


def test_precision_without_a_prediction_has_no_value():
    p = np.array([[0.8, 0.2], [0.7, 0.3]])
    ours = values_of(np.array([0, 1]), p, metrics_of(("a", "b"), 10))
    assert np.isnan(ours["precision_b"])
    assert ours["precision_a"] == 0.5


def test_confusion_rows_are_the_truth():
    p = np.eye(3)[[0, 1, 1, 2]]
    table = confusion(np.array([0, 0, 1, 1]), p, np.ones((1, 4)))[0]
    assert table.tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]


def test_directions():
    worse_when_higher = {m.name for m in metrics_of(CLASSES, 10) if not m.higher_is_better}
    assert worse_when_higher == {"ece", "brier", "log_loss"}
