"""The difference of two arms over folds and seeds, with intervals that know the folds overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import t as student

from sonobalance.evaluation.intervals import Interval, number_or_none
from sonobalance.evaluation.metrics import Floats, Metric
from sonobalance.evaluation.resampled import Drawn, paired_difference, paired_row

METHOD = (
    "Counted metrics (accuracy, F1, recall, ECE, Brier) are of all folds of a seed together, AUC "
    "is the mean over folds (Forman & Scholz 2010); the mean over seeds is reported. Probabilities "
    "were scaled by a temperature fitted on VAL. Intervals of an arm: percentiles of a bootstrap "
    "of whole groups (patients and near-duplicates), the predictions of all seeds drawn together; "
    "that of ECE, which resampling raises, holds the percentile and the basic interval. "
    "The interval of a difference (low, high) holds both of two: the corrected resampled t (t_low, "
    "t_high; Nadeau & Bengio 2003, Bouckaert & Frank 2004) over the pairs of models, its variance "
    "raised by n_test / n_train because folds share training images; and the paired bootstrap of "
    "groups (bootstrap_low, bootstrap_high), which knows the patients but takes the trained models "
    "as given. A single pair of models gives no t interval (null): there the bootstrap's is the "
    "only one. Fewer than three groups give no interval. No correction for the number of "
    "comparisons."
)


def corrected_resampled_t(
    differences: Floats, test_to_train: float, confidence: float
) -> tuple[float, float]:
    """Mean difference and half the width of its interval (Nadeau & Bengio 2003, section 3).

    The plain t interval of J differences takes them for independent; cross-validation trains on
    overlapping images, so that the variance of their mean is (1 / J + n_test / n_train) s², not
    s² / J. For repeated cross-validation: Bouckaert & Frank, PAKDD 2004.

    Args:
        differences: (J,) one per fold and seed; those that are not finite are left out.
        test_to_train: n_test / n_train.
        confidence: level, in (0, 1).

    Returns:
        NaN half-width for fewer than two differences.
    """
    known = differences[np.isfinite(differences)]
    if known.size < 2:
        return float(known.mean()) if known.size else np.nan, np.nan
    error = np.sqrt((1 / known.size + test_to_train) * known.var(ddof=1))
    return float(known.mean()), float(student.ppf((1 + confidence) / 2, known.size - 1) * error)


def difference_row(
    metric: Metric,
    names: tuple[str, str],
    draws: tuple[Drawn, Drawn],
    each: tuple[Floats, Floats],
    *,
    test_to_train: float | None,
    confidence: float,
) -> dict[str, Any]:
    """One row of `paired` in `benchmark.json`.

    Args:
        metric: what is compared.
        names: the arm and what it is held against.
        draws: of both, from the same resamples.
        each: (J,) the metric of each model of both, in the same order.
        test_to_train: see `corrected_resampled_t`; None: the bootstrap's interval is the only one,
            as it is where fewer than two pairs of models have a value.
        confidence: level of the intervals.
    """
    resampled = paired_difference(*draws, confidence)
    if test_to_train is None:
        return paired_row(metric, *names, resampled)
    _, half = corrected_resampled_t(each[0] - each[1], test_to_train, confidence)
    corrected = Interval(resampled.value, resampled.value - half, resampled.value + half)
    parts = {"t": corrected, "bootstrap": resampled}
    joint = resampled if np.isnan(half) else _holding(corrected, resampled)
    return paired_row(metric, *names, joint) | {
        f"{name}_{end}": number_or_none(getattr(interval, end))
        for name, interval in parts.items()
        for end in ("low", "high")
    }


def _holding(a: Interval, b: Interval) -> Interval:
    """The interval that holds both; NaN where one has no bounds."""
    return Interval(a.value, float(np.minimum(a.low, b.low)), float(np.maximum(a.high, b.high)))
