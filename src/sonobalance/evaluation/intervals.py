"""Intervals that know that images of one patient, or near-duplicates, are not independent.

A bootstrap resample draws whole groups with replacement. It is held as a row of integer weights
(how often each image is in it), so that a metric of all resamples is a few matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonobalance.errors import InputError

Floats = NDArray[np.float64]
MAX_REDRAWS = 100
LEAST_GROUPS = 3  # independent groups; of fewer, nobody can say how much they differ


class Interval(NamedTuple):
    """A number with its interval; NaN stands for what cannot be computed."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """The three numbers by name, with null for NaN."""
        return {name: number_or_none(v) for name, v in self._asdict().items()}


def number_or_none(value: float) -> float | None:
    """A plain float, or None where it is not finite, as JSON wants it."""
    return float(value) if np.isfinite(value) else None


def group_weights(
    groups: Sequence[str] | NDArray[np.str_],
    resamples: int,
    generator: np.random.Generator,
    strata: NDArray[np.int64] | None = None,
) -> Floats:
    """Draw group-clustered bootstrap resamples (Davison & Hinkley 1997, section 3.8, strategy 1).

    As many groups as there are get drawn with replacement; each image weighs as often as its
    group was drawn. A resample that misses one of the `strata` (classes) altogether would change
    the meaning of a mean over classes, so it is drawn again, at most 100 times.

    Args:
        groups: (N,) group of each image.
        resamples: number of resamples R.
        generator: source of randomness.
        strata: (N,) class of each image, or None to accept every draw.

    Returns:
        (R, N) float64 weights, each row a resample; NaN, so that no interval has bounds, where
        there are fewer than `LEAST_GROUPS` groups.

    Raises:
        InputError: there are no images.
    """
    if len(groups) == 0:
        raise InputError("Expected at least one image to resample, but got none.")
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < LEAST_GROUPS:
        return np.full((resamples, len(member)), np.nan)
    present = _presence(member, len(names), strata)
    counts = _draw(len(names), resamples, generator)
    for _ in range(MAX_REDRAWS):
        bad = ((counts @ present) == 0).any(axis=1)
        if not bad.any():
            break
        counts[bad] = _draw(len(names), int(bad.sum()), generator)
    weights: Floats = counts[:, member].astype(np.float64)
    return weights


def _draw(groups: int, resamples: int, generator: np.random.Generator) -> NDArray[np.int64]:
    counts: NDArray[np.int64] = generator.multinomial(
        groups, np.full(groups, 1 / groups), size=resamples
    )
    return counts


def _presence(
    member: NDArray[np.int64], groups: int, strata: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """(groups, classes) images of each class in each group."""
    classes = np.zeros_like(member) if strata is None else np.unique(strata, return_inverse=True)[1]
    table = np.zeros((groups, int(classes.max()) + 1), np.int64)
    np.add.at(table, (member, classes), 1)
    return table


def percentile_interval(value: float, resampled: Floats, confidence: float) -> Interval:
    """The percentile interval of a metric's resampled values (Efron & Tibshirani 1993, ch. 13).

    Args:
        value: the metric on the data itself.
        resampled: (R,) the metric on each resample; NaN where the resample has no value.
        confidence: level of the interval, in (0, 1).

    Returns:
        NaN bounds when the metric has no value in more than half of the resamples.
    """
    finite = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or 2 * finite.size < resampled.size:
        return Interval(float(value), np.nan, np.nan)
    low, high = np.quantile(finite, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(value), float(low), float(high))


def raised_interval(value: float, resampled: Floats, confidence: float) -> Interval:
    """The interval of a metric in [0, 1] that resampling raises; it always holds the value.

    A mean of absolute gaps, as ECE is, grows with any noise: the estimate lies above the truth
    (Bröcker 2012; Kumar, Liang & Ma 2019), and resamples as much above the estimate, so
    that the percentile interval can miss the estimate itself. Reported is what holds both of two
    (Davison & Hinkley 1997, sections 5.2 and 5.3): the percentile interval, and the basic one,
    which takes that distance off again. It reaches equally far to either side, cut off at 0 and 1.

    Args:
        value: the metric on the data itself.
        resampled: (R,) the metric on each resample; NaN where the resample has no value.
        confidence: level of the interval, in (0, 1).

    Returns:
        NaN bounds where the percentile interval has none.
    """
    _, low, high = percentile_interval(value, resampled, confidence)
    reach = np.maximum(high - value, value - low)
    low, high = np.maximum(value - reach, 0.0), np.minimum(value + reach, 1.0)
    return Interval(float(value), float(low), float(high))


def wilson_interval(share: float, n: int, confidence: float) -> Interval:
    """Wilson's score interval of a share seen in `n` independent trials (Wilson 1927).

    It keeps a width where the bootstrap has none: at a share of 0 or 1.
    """
    if n <= 0 or not np.isfinite(share):
        return Interval(share, np.nan, np.nan)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low, high = max(0.0, float(centre - half)), min(1.0, float(centre + half))
    return Interval(share, min(low, share), max(high, share))


def share_interval(resampled: Interval, groups: NDArray[np.str_], confidence: float) -> Interval:
    """The interval of a share of images, from that of its resamples.

    Where every resample agrees (all right or all wrong) the bootstrap has no width; Wilson's
    interval over the independent groups stands in.

    Args:
        resampled: the share with its percentile interval.
        groups: (N,) group of each image in the share's denominator.
        confidence: level of the interval, in (0, 1).

    Returns:
        NaN bounds for fewer than `LEAST_GROUPS` groups.
    """
    n = len(np.unique(groups))
    if n < LEAST_GROUPS:
        return Interval(resampled.value, np.nan, np.nan)
    if resampled.high > resampled.low:
        return resampled
    return wilson_interval(resampled.value, n, confidence)


def mean_interval(
    values: Floats, weights: Floats, confidence: float, chance: Floats | None = None
) -> Interval:
    """Mean of per-image values, or its ratio to the mean of `chance`, with its interval.

    Args:
        values: (N,) one value per image.
        weights: (R, N) from `group_weights`.
        confidence: level of the interval, in (0, 1).
        chance: (N,) what each value would be by chance; when given, the result is
            mean(values) / mean(chance).
    """
    below = np.ones_like(values) if chance is None else chance
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.divide(values.sum(), below.sum())
        resampled = (weights @ values) / (weights @ below)
    return percentile_interval(float(value), resampled, confidence)
