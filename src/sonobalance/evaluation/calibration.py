"""Whether probabilities mean what they say, and what VAL teaches about using them.

Everything fitted here is fitted on VAL and only measured on TEST.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonobalance.evaluation.metrics import SMALLEST, Floats, Integers, bin_index
from sonobalance.temperature import fit_temperature, tempered


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """One bar of the calibration curve; means are NaN where the bin is empty."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


def reliability_bins(targets: Integers, probabilities: Floats, bins: int) -> list[ReliabilityBin]:
    """The calibration curve over equal-width bins of the confidence (Guo et al. 2017, figure 1)."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == targets
    index = bin_index(confidence, bins)
    out = []
    for i in range(bins):
        inside = index == i
        count = int(inside.sum())
        means = (confidence[inside].mean(), right[inside].mean()) if count else (np.nan, np.nan)
        out.append(ReliabilityBin(i / bins, (i + 1) / bins, count, *map(float, means)))
    return out


def temperature_of(targets: Integers, probabilities: Floats) -> float:
    """The temperature of least log-loss; a probability of 0 counts as 1e-12, as in the log-loss."""
    return fit_temperature(np.log(np.maximum(probabilities, SMALLEST)), targets)


def apply_temperature(probabilities: Floats, temperature: float) -> Floats:
    """softmax(log p / T): the logits divided by T, without needing the logits.

    Sharpened probabilities are tiny and not nothing: only a zero has no logit.
    """
    tiny = np.finfo(probabilities.dtype).tiny
    return tempered(np.log(np.maximum(probabilities, tiny)), temperature)


def operating_threshold(targets: Integers, probabilities: Floats, k: int, wanted: float) -> float:
    """The highest threshold on class `k`'s probability with at least the wanted sensitivity.

    An image counts as positive when its probability is at or above the threshold.

    Returns:
        NaN when there is no image of the class.
    """
    scores = np.sort(probabilities[targets == k, k])[::-1]
    if scores.size == 0:
        return float("nan")
    needed = max(1, int(np.ceil(wanted * scores.size - 1e-9)))
    return float(scores[needed - 1])


def conformal_cutoff(targets: Integers, probabilities: Floats, coverage: float) -> float:
    """The least probability a class needs to enter the set (split conformal, LAC).

    Sadinle, Lei & Wasserman 2019: the ⌈(n + 1) · coverage⌉-th smallest of the scores
    1 - p(true class) on held-out images. With too few images the cut-off is 0: every class enters.
    """
    scores = np.sort(1 - probabilities[np.arange(len(targets)), targets])
    rank = int(np.ceil((len(scores) + 1) * coverage - 1e-9))
    return float(1 - scores[rank - 1]) if rank <= len(scores) else 0.0


def conformal_sets(probabilities: Floats, cutoff: float) -> NDArray[np.bool_]:
    """(N, K) which classes are in each image's set; a set can be empty when nothing fits."""
    inside: NDArray[np.bool_] = probabilities >= cutoff - 1e-12
    return inside
