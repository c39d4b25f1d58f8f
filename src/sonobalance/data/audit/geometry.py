"""Do two images share their local features in one arrangement?

The transform has no rotation: x' = sx·x + tx, y' = sy·y + ty, after an optional mirroring. It is
found by consensus over pairs of matches (RANSAC: Fischler & Bolles 1981, CACM 24:381, here over
a fixed, evenly spread sample of pairs, so that it needs no random numbers) and refined by least
squares.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonobalance.data.audit.features import THUMBNAIL_PX, Features, mirrored, unit

RATIO = 0.85  # best over second-best distance (Lowe 2004, section 7.1)
HYPOTHESES = 400
TOLERANCE_PX = 0.03 * THUMBNAIL_PX
SCALES = (0.4, 2.5)
TILT = 0.12  # radians by which a pair of matches may be turned
STRETCH = 0.85  # least ratio of the refined scale along one axis to the common scale
FEWEST = 4  # matches or inliers worth a look


@dataclass(frozen=True, slots=True)
class Transform:
    """From pixels of the first thumbnail to those of the second (mirrored first if `mirror`)."""

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float
    mirror: bool = False

    def apply(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where (K, 2) points of the first image lie in the second: (K, 2)."""
        scale = np.array((self.scale_x, self.scale_y), np.float32)
        moved: NDArray[np.float32] = points * scale
        moved += np.array((self.shift_x, self.shift_y), np.float32)
        return moved


def arrange(first: Features, second: Features, *, mirror: bool) -> tuple[Transform, int] | None:
    """The transform that most matches agree with and their number; None when hardly any do."""
    i, j = match(first, second, mirror=mirror)
    if len(i) < FEWEST:
        return None
    target = second.points[j].copy()
    if mirror:
        target[:, 0] = second.width - 1 - target[:, 0]
    found = consensus(first.points[i], target, mirror=mirror)
    if found is None or found[1].sum() < FEWEST:
        return None
    return found[0], int(found[1].sum())


def match(
    first: Features, second: Features, *, mirror: bool
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Mutual nearest descriptors that pass the ratio test: indices into both images' points."""
    nothing = np.zeros(0, np.intp)
    if min(len(first.points), len(second.points)) < 2:
        return nothing, nothing
    other = mirrored(second.descriptors) if mirror else second.descriptors
    likeness = unit(first.descriptors) @ unit(other).T
    rows = np.arange(len(likeness))
    best = likeness.argmax(axis=1)
    mutual = likeness.argmax(axis=0)[best] == rows
    nearest = likeness[rows, best]
    likeness[rows, best] = -1
    runner_up = likeness.max(axis=1)
    good = mutual & (1 - nearest < RATIO**2 * (1 - runner_up))
    return rows[good], best[good]


def consensus(
    source: NDArray[np.float32], target: NDArray[np.float32], *, mirror: bool = False
) -> tuple[Transform, NDArray[np.bool_]] | None:
    """The transform that most of the (K, 2) matches agree with, and which do; None without any."""
    a, b = np.triu_indices(len(source), 1)
    before, after = source[b] - source[a], target[b] - target[a]
    length = np.hypot(before[:, 0], before[:, 1])
    scale = np.hypot(after[:, 0], after[:, 1]) / np.maximum(length, 1e-6)
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    same_way = (before * after).sum(axis=1)
    plausible = (length > 2 * TOLERANCE_PX) & (scale > SCALES[0]) & (scale < SCALES[1])
    plausible &= np.abs(np.arctan2(turn, same_way)) < TILT
    chosen = np.flatnonzero(plausible)
    if not len(chosen):
        return None
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(HYPOTHESES, len(chosen))).astype(int)]
    a, b, scale = a[chosen], b[chosen], scale[chosen]
    shift = (target[a] + target[b] - scale[:, None] * (source[a] + source[b])) / 2
    error = scale[:, None, None] * source + shift[:, None] - target
    allowed = TOLERANCE_PX * np.sqrt(scale)
    inside = np.hypot(error[..., 0], error[..., 1]) < allowed[:, None]
    winner = int(inside.sum(axis=1).argmax())
    size, (x, y) = float(scale[winner]), shift[winner].tolist()
    rough = Transform(size, size, x, y, mirror)
    return refine(source, target, inside[winner], rough, float(allowed[winner]))


def refine(
    source: NDArray[np.float32],
    target: NDArray[np.float32],
    inside: NDArray[np.bool_],
    rough: Transform,
    allowed_px: float,
) -> tuple[Transform, NDArray[np.bool_]]:
    """Least squares with separate scales along x and y, repeated on the matches that then agree."""
    best = rough
    for _ in range(3):
        if inside.sum() < FEWEST:
            break
        fitted = fit(source[inside], target[inside], best)
        error = fitted.apply(source) - target
        now = np.hypot(error[:, 0], error[:, 1]) < allowed_px
        if now.sum() < inside.sum():
            break
        best, inside = fitted, now
    return best, inside


def fit(source: NDArray[np.float32], target: NDArray[np.float32], near: Transform) -> Transform:
    """Least-squares transform of (K, 2) matches whose scales stay close to those of `near`."""
    scale_x, shift_x = _line(source[:, 0], target[:, 0], near.scale_x)
    scale_y, shift_y = _line(source[:, 1], target[:, 1], near.scale_y)
    return Transform(scale_x, scale_y, shift_x, shift_y, near.mirror)


def _line(u: NDArray[np.float32], v: NDArray[np.float32], scale: float) -> tuple[float, float]:
    """Scale and shift of v = scale·u + shift."""
    variance = float(u.var())
    slope = float(((u - u.mean()) * (v - v.mean())).mean()) / variance if variance > 25 else scale
    slope = min(max(slope, STRETCH * scale), scale / STRETCH)
    return slope, float(v.mean() - slope * u.mean())
