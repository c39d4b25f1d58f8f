"""The numbers a classifier is judged by, each for many weighted resamples at once.

Every metric is a function of `targets` (N,) int64 class indices, `probabilities` (N, K) float64
rows summing to 1, and `weights` (R, N) float64: how often each image counts in each of R
resamples. It returns (R,) float64, NaN where it has no value (a class is absent, or nothing was
predicted as it). The predicted class is the most probable one, the first among equals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MetricFunction = Callable[[Integers, Floats, Floats], Floats]
Counted = Callable[[Integers, Integers], NDArray[np.bool_]]
SMALLEST = 1e-12


def _everything(targets: Integers, predicted: Integers) -> NDArray[np.bool_]:
    return np.ones((1, len(targets)), np.bool_)


def _each_class(targets: Integers, predicted: Integers) -> NDArray[np.bool_]:
    present: NDArray[np.bool_] = targets == np.unique(targets)[:, None]
    return present


@dataclass(frozen=True)
class Metric:
    """One row of the results table.

    Attributes:
        name: key in `evaluation.json`.
        function: see the head of this file.
        higher_is_better: direction.
        sentence: what the number means, for a reader who is no statistician.
        counted: which images it rests on, as a function (targets, predicted) -> (M, N) bool: a row
            for each set of images without which it has no value. A share has one, its denominator.
        share: whether it is a share of images (accuracy, sensitivity, ...).
        raised: whether noise, and so resampling, can only raise it: see `raised_interval`.
        ranks: whether scores are compared between images, which is meaningful within one model
            only: over folds such a metric is averaged, not pooled (Forman & Scholz 2010).
    """

    name: str
    function: MetricFunction
    higher_is_better: bool
    sentence: str
    counted: Counted = _everything
    share: bool = False
    raised: bool = False
    ranks: bool = False

    def least_groups(self, targets: Integers, predicted: Integers, groups: NDArray[np.str_]) -> int:
        """Independent groups in the smallest set of images that it rests on.

        Args:
            targets: (N,) true class of each image.
            predicted: (N,) predicted class of each.
            groups: (N,) group of each.
        """
        return min(len(np.unique(groups[rows])) for rows in self.counted(targets, predicted))


def metrics_of(classes: tuple[str, ...], bins: int) -> tuple[Metric, ...]:
    """The table of metrics for these classes.

    Args:
        classes: class names; index = integer target.
        bins: equal-width bins of the calibration error.
    """
    return (
        Metric("accuracy", accuracy, True, "Share of images given the right class.", share=True),
        Metric(
            "balanced_accuracy", balanced_accuracy, True,
            "Mean sensitivity over the classes, so that rare classes count as much as common ones.",
            _each_class,
        ),
        Metric("macro_f1", macro_f1, True, "Mean over the classes of F1.", _each_class),
        Metric(
            "macro_auc", macro_auc, True,
            "Mean over the classes of the area under the one-against-rest ROC curve.",
            _each_class, ranks=True,
        ),
        *(row for k, name in enumerate(classes) for row in _class_metrics(k, name)),
        Metric(
            "ece", partial(expected_calibration_error, bins=bins), False,
            "Mean gap between confidence and share of right answers (0 = well calibrated); small "
            "samples raise it, and so its interval is wide downwards.",
            raised=True,
        ),
        Metric("brier", brier, False, "Mean squared error of the probabilities, 0 to 2."),
        Metric("log_loss", log_loss, False, "Mean surprise at the true class, in nats."),
    )  # fmt: skip


def _class_metrics(k: int, name: str) -> tuple[Metric, ...]:
    return (
        Metric(
            f"recall_{name}", partial(recall, k=k), True,
            f"Sensitivity: share of {name} images called {name}.",
            lambda targets, predicted: targets[None] == k, share=True,
        ),
        Metric(
            f"specificity_{name}", partial(specificity, k=k), True,
            f"Share of the other images not called {name}.",
            lambda targets, predicted: targets[None] != k, share=True,
        ),
        Metric(
            f"precision_{name}", partial(precision, k=k), True,
            f"Share of the images called {name} that are {name}.",
            lambda targets, predicted: predicted[None] == k, share=True,
        ),
        Metric(
            f"auc_{name}", partial(auc, k=k), True,
            f"Chance that a {name} image gets more {name} probability than another image.",
            lambda targets, predicted: np.stack([targets == k, targets != k]), ranks=True,
        ),
    )  # fmt: skip


def values_of(
    targets: Integers, probabilities: Floats, metrics: tuple[Metric, ...]
) -> dict[str, float]:
    """Every metric on the images themselves, each counted once."""
    once = np.ones((1, len(targets)))
    return {m.name: float(m.function(targets, probabilities, once)[0]) for m in metrics}


def confusion(targets: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """(R, K, K) weighted confusion matrices: row = true class, column = predicted class."""
    classes = probabilities.shape[1]
    cell = targets * classes + probabilities.argmax(1)
    flat: Floats = weights @ np.eye(classes**2)[cell]
    return flat.reshape(len(weights), classes, classes)


def accuracy(targets: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Share of right answers."""
    return _share(weights, probabilities.argmax(1) == targets, np.ones(len(targets)))


def recall(targets: Integers, probabilities: Floats, weights: Floats, *, k: int) -> Floats:
    """Sensitivity of class `k`: TP / (TP + FN)."""
    return _share(weights, probabilities.argmax(1) == k, targets == k)


def specificity(targets: Integers, probabilities: Floats, weights: Floats, *, k: int) -> Floats:
    """Specificity of class `k`: TN / (TN + FP); no value where the class is absent."""
    found = _share(weights, probabilities.argmax(1) != k, targets != k)
    return _where_present(found, targets, weights, k)


def precision(targets: Integers, probabilities: Floats, weights: Floats, *, k: int) -> Floats:
    """Precision of class `k`: TP / (TP + FP); no value where the class is absent."""
    found = _share(weights, targets == k, probabilities.argmax(1) == k)
    return _where_present(found, targets, weights, k)


def balanced_accuracy(targets: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Mean recall over the classes that are present."""
    classes = range(probabilities.shape[1])
    return _mean_over_classes([recall(targets, probabilities, weights, k=k) for k in classes])


def macro_f1(targets: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Mean over the present classes of 2 TP / (2 TP + FP + FN)."""
    table = confusion(targets, probabilities, weights)
    hits = np.diagonal(table, axis1=1, axis2=2)
    f1 = _divide(2 * hits, table.sum(1) + table.sum(2))
    return _mean_over_classes(list(np.where(table.sum(2) > 0, f1, np.nan).T))


def macro_auc(targets: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Mean over the present classes of the one-against-rest AUC."""
    classes = range(probabilities.shape[1])
    return _mean_over_classes([auc(targets, probabilities, weights, k=k) for k in classes])


def auc(targets: Integers, probabilities: Floats, weights: Floats, *, k: int) -> Floats:
    """Area under the ROC curve of class `k` against the rest (Mann & Whitney 1947; ties 1/2).

    One sort of the scores serves all resamples: with the images in order, each positive beats
    the weight of the negatives below it.
    """
    order = np.argsort(probabilities[:, k], kind="stable")
    score, positive = probabilities[order, k], targets[order] == k
    first = np.flatnonzero(np.r_[True, np.diff(score) > 0])
    up = np.add.reduceat(weights[:, order] * positive, first, axis=1)
    down = np.add.reduceat(weights[:, order] * ~positive, first, axis=1)
    beaten = np.cumsum(down, axis=1) - down / 2
    return _divide((up * beaten).sum(1), up.sum(1) * down.sum(1))


def expected_calibration_error(
    targets: Integers, probabilities: Floats, weights: Floats, *, bins: int
) -> Floats:
    """Confidence gap over equal-width bins (Naeini et al. 2015; Guo et al. 2017, equation 3)."""
    confidence = probabilities.max(1)
    gap = (probabilities.argmax(1) == targets) - confidence
    in_bin = np.eye(bins)[bin_index(confidence, bins)]
    return _divide(np.abs(weights @ (in_bin * gap[:, None])).sum(1), weights.sum(1))


def bin_index(confidence: Floats, bins: int) -> Integers:
    """The equal-width bin [i / bins, (i + 1) / bins) of each confidence; 1 is in the last."""
    edges = np.linspace(0, 1, bins + 1)
    index: Integers = np.clip(np.searchsorted(edges, confidence, side="right") - 1, 0, bins - 1)
    return index


def brier(targets: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Mean over images of the sum over classes of (p - y)², in [0, 2] (Brier 1950, equation 2)."""
    error = ((probabilities - np.eye(probabilities.shape[1])[targets]) ** 2).sum(1)
    return _divide(weights @ error, weights.sum(1))


def log_loss(targets: Integers, probabilities: Floats, weights: Floats) -> Floats:
    """Mean of -log of the true class's probability, which is floored at 1e-12."""
    surprise = -np.log(np.maximum(probabilities[np.arange(len(targets)), targets], SMALLEST))
    return _divide(weights @ surprise, weights.sum(1))


def _share(weights: Floats, hit: NDArray[np.bool_], counted: NDArray[np.generic]) -> Floats:
    counts = np.asarray(counted, np.float64)
    return _divide(weights @ (hit * counts), weights @ counts)


def _where_present(found: Floats, targets: Integers, weights: Floats, k: int) -> Floats:
    """The values, NaN for resamples without an image of class `k`."""
    return np.where(weights @ (targets == k) > 0, found, np.nan)


def _divide(top: Floats, bottom: Floats) -> Floats:
    """Top / bottom, NaN where the bottom is 0."""
    out = np.full(np.broadcast(top, bottom).shape, np.nan)
    np.divide(top, bottom, out=out, where=bottom != 0)
    return out


def _mean_over_classes(per_class: list[Floats]) -> Floats:
    """Mean over the classes that have a value, NaN where none has."""
    table = np.stack(per_class)
    known = np.isfinite(table)
    return _divide(np.where(known, table, 0.0).sum(0), known.sum(0).astype(np.float64))
