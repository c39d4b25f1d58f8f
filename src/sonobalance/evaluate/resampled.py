"""One arm's metrics on TEST with their intervals, and the paired difference of two arms."""

from __future__ import annotations

from typing import Any

import numpy as np

from sonobalance.evaluate.intervals import (
    Interval,
    number_or_none,
    percentile_interval,
    wilson_interval,
)
from sonobalance.evaluate.metrics import Floats, Metric
from sonobalance.evaluate.predictions import ArmPredictions

CELLS_PER_BLOCK = 4_000_000


def resampled_values(metric: Metric, data: ArmPredictions, weights: Floats) -> Floats:
    """(R,) the metric on every resample, in blocks that bound the memory."""
    rows = max(1, CELLS_PER_BLOCK // max(1, weights.shape[1]))
    blocks = range(0, len(weights), rows)
    parts = [
        metric.function(data.targets, data.probabilities, weights[i : i + rows]) for i in blocks
    ]
    return np.concatenate(parts)


def metric_interval(
    metric: Metric, data: ArmPredictions, weights: Floats, confidence: float
) -> Interval:
    """The metric with its clustered bootstrap interval.

    Where every resample of a share agrees (all right or all wrong) the bootstrap has no width;
    Wilson's interval over the independent groups in the share's denominator stands in.
    """
    once = np.ones((1, len(data)))
    value = float(metric.function(data.targets, data.probabilities, once)[0])
    interval = percentile_interval(value, resampled_values(metric, data, weights), confidence)
    if metric.counted is None or interval.high > interval.low or np.isnan(value):
        return interval
    counted = metric.counted(data.targets, data.probabilities.argmax(1))
    return wilson_interval(value, len(np.unique(data.groups[counted])), confidence)


def paired_difference(
    metric: Metric,
    arm: ArmPredictions,
    against: ArmPredictions,
    weights: Floats,
    confidence: float,
) -> Interval:
    """metric(arm) - metric(against) on the same images, both resampled together."""
    once = np.ones((1, len(arm)))
    values = [float(resampled_values(metric, data, once)[0]) for data in (arm, against)]
    draws = [resampled_values(metric, data, weights) for data in (arm, against)]
    return percentile_interval(values[0] - values[1], draws[0] - draws[1], confidence)


def paired_row(metric: Metric, arm: str, against: str, difference: Interval) -> dict[str, Any]:
    """One row of `paired` in `evaluation.json`."""
    said = verdict(metric, difference)
    if np.isfinite(difference.low):
        numbers = f"{difference.value:+.3f}, {difference.low:+.3f} to {difference.high:+.3f}"
    else:
        numbers = "no interval"
    return {
        "arm": arm,
        "against": against,
        "metric": metric.name,
        "difference": number_or_none(difference.value),
        "low": number_or_none(difference.low),
        "high": number_or_none(difference.high),
        "verdict": said,
        "sentence": f"{arm} against {against} in {metric.name}: {said} ({numbers}).",
    }


def verdict(metric: Metric, difference: Interval) -> str:
    """better, worse, or no clear difference: clear when the interval does not hold zero."""
    up = difference.low > 0
    down = difference.high < 0
    if not (up or down):
        return "no clear difference"
    return "better" if up == metric.higher_is_better else "worse"
