"""From local features and blocks to one score: do two images show the same?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonobalance.data.audit.agreement import agree
from sonobalance.data.audit.features import Features
from sonobalance.data.audit.geometry import Transform, arrange

MOST = 20  # more inliers or coherent blocks do not make it surer
PER_INLIER = 0.4
PER_COHERENT = 0.45
PER_CORRELATION = 17.0
PER_LOG_SCALE = -8.0
OFFSET = -12.5
CLOSER_OFFSET = -4.5
CLOSER_PER_INLIER = 0.55
CLOSER_PER_COHERENT = 0.35
CLOSER_PER_LOG_SCALE = -5.0
SAME_SCALE = 0.03
SAME_OVERLAP = 0.97


@dataclass(frozen=True, slots=True)
class Evidence:
    """How well two images agree.

    Attributes:
        inliers: local features that agree with one transform.
        blocks: comparable blocks of the thumbnails.
        coherent: blocks found in the other image and moved like their neighbours.
        correlation: median likeness of the blocks, in [-1, 1].
        overlap: share of the smaller image inside the other, in [0, 1].
        transform: from the first to the second thumbnail; None without any arrangement.
    """

    inliers: int = 0
    blocks: int = 0
    coherent: int = 0
    correlation: float = 0.0
    overlap: float = 0.0
    transform: Transform | None = None

    @property
    def mirror(self) -> bool:
        """Whether the second image is mirrored."""
        return self.transform is not None and self.transform.mirror

    @property
    def same_frame(self) -> bool:
        """Whether both show the same field of view, up to 3 % of the side."""
        if self.transform is None or self.overlap < SAME_OVERLAP:
            return False
        scales = (self.transform.scale_x, self.transform.scale_y)
        return max(abs(scale - 1) for scale in scales) < SAME_SCALE


NOTHING = Evidence()


def compare(first: Features, second: Features, *, mirror: bool) -> Evidence:
    """Evidence that `second`, or its mirror image, shows the same tissue as `first`."""
    arranged = arrange(first, second, mirror=mirror)
    if arranged is None:
        return NOTHING
    found = agree(first, second, arranged[0])
    return Evidence(
        arranged[1], found.blocks, found.coherent, found.correlation, found.overlap, found.transform
    )


def likelihood(evidence: Evidence) -> float:
    """Score in [0, 1] that two images show the same picture, lesion or tissue, at first look.

    A logistic function of the agreeing features, the coherent blocks, their likeness and the
    change of scale. Its weights were fitted to 860 pairs of BUSI images judged by eye (every pair
    with at least four agreeing features) and rounded.
    """
    if evidence.transform is None:
        return 0.0
    return _logistic(
        OFFSET
        + PER_INLIER * min(evidence.inliers, MOST)
        + PER_COHERENT * min(evidence.coherent, MOST)
        + PER_CORRELATION * evidence.correlation
        + PER_LOG_SCALE * _log_scale(evidence.transform)
    )


def closer_likelihood(evidence: Evidence) -> float:
    """The same score at the closer look, whose features are more.

    Fitted to the pairs of BUSI that the first look ranks around its threshold, judged by eye
    (benchmarks/busi_pairs_judged.csv), and rounded.
    """
    if evidence.transform is None:
        return _logistic(CLOSER_OFFSET)
    return _logistic(
        CLOSER_OFFSET
        + CLOSER_PER_INLIER * min(evidence.inliers, MOST)
        + CLOSER_PER_COHERENT * min(evidence.coherent, MOST)
        + CLOSER_PER_LOG_SCALE * _log_scale(evidence.transform)
    )


def _log_scale(transform: Transform) -> float:
    return float(abs(np.log(transform.scale_x * transform.scale_y))) / 2


def _logistic(z: float) -> float:
    return float(1 / (1 + np.exp(-z)))
