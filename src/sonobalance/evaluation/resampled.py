"""One arm's metrics on TEST with their intervals, and the paired difference of two arms."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonobalance.evaluation.intervals import (
    LEAST_GROUPS,
    Interval,
    number_or_none,
    percentile_interval,
    raised_interval,
    share_interval,
)
from sonobalance.evaluation.metrics import Floats, Integers, Metric
from sonobalance.evaluation.predictions import ArmPredictions

CELLS_PER_BLOCK = 4_000_000


class Drawn(NamedTuple):
    """A metric on the images themselves, and (R,) on every resample; NaN for too few groups."""

    value: float
    resampled: Floats


def drawn(metric: Metric, data: ArmPredictions, weights: Floats) -> Drawn:
    """Compute a metric on every resample, in blocks that bound the memory."""
    once = metric.function(data.targets, data.probabilities, np.ones((1, len(data))))
    predicted = data.probabilities.argmax(1)
    if metric.least_groups(data.targets, predicted, data.groups) < LEAST_GROUPS:
        return Drawn(float(once[0]), np.full(len(weights), np.nan))
    rows = max(1, CELLS_PER_BLOCK // max(1, weights.shape[1]))
    blocks = (weights[i : i + rows] for i in range(0, len(weights), rows))
    parts = [metric.function(data.targets, data.probabilities, block) for block in blocks]
    return Drawn(float(once[0]), np.concatenate(parts))


def metric_interval(
    metric: Metric, data: ArmPredictions, draw: Drawn, confidence: float
) -> Interval:
    """The metric with its clustered bootstrap interval, see `drawn_interval`."""
    predicted = data.probabilities.argmax(1)
    return drawn_interval(
        metric, draw, confidence, targets=data.targets, predicted=predicted, groups=data.groups
    )


def drawn_interval(
    metric: Metric,
    draw: Drawn,
    confidence: float,
    *,
    targets: Integers,
    predicted: Integers,
    groups: NDArray[np.str_],
) -> Interval:
    """The percentile interval; see `share_interval` and `raised_interval` for the exceptions.

    Args:
        metric: what was drawn.
        draw: its value and its resamples.
        confidence: level, in (0, 1).
        targets: (N,) true class of each image.
        predicted: (N,) predicted class of each; recall and accuracy do not look at it.
        groups: (N,) group of each.
    """
    if metric.raised:
        return raised_interval(draw.value, draw.resampled, confidence)
    interval = percentile_interval(draw.value, draw.resampled, confidence)
    if not metric.share:
        return interval
    (counted,) = metric.counted(targets, predicted)
    return share_interval(interval, groups[counted], confidence)


def paired_difference(arm: Drawn, against: Drawn, confidence: float) -> Interval:
    """Arm - against, from draws of the same resamples of the same images."""
    difference = arm.resampled - against.resampled
    return percentile_interval(arm.value - against.value, difference, confidence)


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
