"""Do two images show the same tissue? Local matches, one transform for all, then the pixels.

The transform has no rotation: x' = sx·x + tx, y' = sy·y + ty, after an optional mirroring. It is
found by consensus over pairs of matches (RANSAC: Fischler & Bolles 1981, CACM 24:381, here over
a fixed, evenly spread sample of pairs, so that it needs no random numbers) and refined by least
squares. Then blocks of the one thumbnail are looked for near their place in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.data.audit.features import Features, mirrored, unit
from sonobalance.data.images import Gray

RATIO = 0.85  # best over second-best distance (Lowe 2004, section 7.1)
HYPOTHESES = 400
TOLERANCE = 0.03  # of the longer side of the working image
SCALES = (0.4, 2.5)
TILT = 0.12  # radians by which a pair of matches may be turned
FEWEST_MATCHES = 5
FEWEST_INLIERS = 5
BLOCK_PX = 24  # of the thumbnail
SEARCH_PX = 5
FEWEST_BLOCKS = 3


@dataclass(frozen=True, slots=True)
class Transform:
    """From pixels of the first working image to those of the second."""

    scale_x: float
    scale_y: float
    shift_x: float
    shift_y: float
    mirror: bool

    def apply(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Where (K, 2) points of the first image lie in the (unmirrored) second: (K, 2)."""
        scale = np.array((self.scale_x, self.scale_y), np.float32)
        moved: NDArray[np.float32] = points * scale
        moved += np.array((self.shift_x, self.shift_y), np.float32)
        return moved


@dataclass(frozen=True, slots=True)
class Evidence:
    """How well two images agree.

    Attributes:
        matches: mutual nearest descriptors that pass the ratio test.
        inliers: matches that agree with one transform.
        spread: area of the inliers' bounding box as a share of the image, in [0, 1].
        overlap: share of the smaller image that lies inside the other, in [0, 1].
        correlation: median over blocks of the best local normalised cross-correlation, [-1, 1].
        transform: the transform; None when there are too few matches.
    """

    matches: int = 0
    inliers: int = 0
    spread: float = 0.0
    overlap: float = 0.0
    correlation: float = 0.0
    transform: Transform | None = None


def compare(first: Features, second: Features, *, mirror: bool) -> Evidence:
    """Evidence that `second`, or its mirror image, shows the same tissue as `first`."""
    i, j = match(first, second, mirror=mirror)
    if len(i) < FEWEST_MATCHES:
        return Evidence(matches=len(i))
    target = second.points[j].copy()
    if mirror:
        target[:, 0] = second.width - 1 - target[:, 0]
    found = consensus(first.points[i], target, TOLERANCE * max(first.width, first.height), mirror)
    if found is None:
        return Evidence(matches=len(i))
    transform, inside = found
    if inside.sum() < FEWEST_INLIERS:
        return Evidence(matches=len(i), inliers=int(inside.sum()))
    points = first.points[i][inside]
    extent = np.ptp(points, axis=0)
    correlation, overlap = block_correlation(first, second, transform)
    return Evidence(
        len(i), int(inside.sum()), float(extent.prod() / (first.width * first.height)),
        overlap, correlation, transform,
    )  # fmt: skip


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
    source: NDArray[np.float32], target: NDArray[np.float32], tolerance_px: float, mirror: bool
) -> tuple[Transform, NDArray[np.bool_]] | None:
    """The transform that most of the (K, 2) matches agree with, and which ones do; None if none."""
    a, b = np.triu_indices(len(source), 1)
    before, after = source[b] - source[a], target[b] - target[a]
    length = np.hypot(before[:, 0], before[:, 1])
    scale = np.hypot(after[:, 0], after[:, 1]) / np.maximum(length, 1e-6)
    turn = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    same_way = (before * after).sum(axis=1)
    plausible = (length > 2 * tolerance_px) & (scale > SCALES[0]) & (scale < SCALES[1])
    plausible &= np.abs(np.arctan2(turn, same_way)) < TILT
    chosen = np.flatnonzero(plausible)
    if not len(chosen):
        return None
    chosen = chosen[np.linspace(0, len(chosen) - 1, min(HYPOTHESES, len(chosen))).astype(int)]
    a, b, scale = a[chosen], b[chosen], scale[chosen]
    shift = (target[a] + target[b] - scale[:, None] * (source[a] + source[b])) / 2
    error = scale[:, None, None] * source + shift[:, None] - target
    allowed = tolerance_px * np.sqrt(scale)
    inside = np.hypot(error[..., 0], error[..., 1]) < allowed[:, None]
    winner = int(inside.sum(axis=1).argmax())
    if inside[winner].sum() < 3:
        return None
    size, (x, y) = float(scale[winner]), shift[winner].tolist()
    rough = Transform(size, size, x, y, mirror)
    return refine(source, target, inside[winner], rough, allowed[winner])


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
        if inside.sum() < 4:
            break
        x = _line(source[inside, 0], target[inside, 0], best.scale_x)
        y = _line(source[inside, 1], target[inside, 1], best.scale_y)
        fitted = Transform(x[0], y[0], x[1], y[1], rough.mirror)
        error = fitted.apply(source) - target
        now = np.hypot(error[:, 0], error[:, 1]) < allowed_px
        if now.sum() < inside.sum():
            break
        best, inside = fitted, now
    return best, inside


def _line(u: NDArray[np.float32], v: NDArray[np.float32], scale: float) -> tuple[float, float]:
    """Scale and shift of v = scale·u + shift; the scale stays within 15 % of the one given."""
    variance = float(u.var())
    slope = float(((u - u.mean()) * (v - v.mean())).mean()) / variance if variance > 25 else scale
    slope = min(max(slope, 0.85 * scale), scale / 0.85)
    return slope, float(v.mean() - slope * u.mean())


def block_correlation(
    first: Features, second: Features, transform: Transform
) -> tuple[float, float]:
    """Median local correlation of the thumbnails' common part, and its share of the smaller image.

    Each block of `BLOCK_PX` is searched within `SEARCH_PX` of its place, so that the soft tissue
    of a neighbouring frame may have moved a little.
    """
    other, seen = second.thumbnail, second.valid
    if transform.mirror:
        other, seen = other[:, ::-1], seen[:, ::-1]
    size = (first.thumbnail.shape[1], first.thumbnail.shape[0])
    warped = _bring(other, transform, size, cv2.INTER_LINEAR)
    common = _bring(np.ones_like(other), transform, size, cv2.INTER_NEAREST)
    clear = _bring(seen.astype(np.uint8), transform, size, cv2.INTER_NEAREST)
    second_area = other.size / (transform.scale_x * transform.scale_y)
    overlap = float(common.sum()) / min(first.thumbnail.size, second_area)
    values = list(_blocks(first.thumbnail, warped, (clear > 0) & first.valid))
    return (float(np.median(values)) if len(values) >= FEWEST_BLOCKS else 0.0), min(1.0, overlap)


def _bring(image: Gray, transform: Transform, size: tuple[int, int], how: int) -> Gray:
    """The second thumbnail as it lies in the first one's frame, (width, height) = `size`."""
    back = np.array(
        [
            [transform.scale_x, 0, transform.shift_x / 2],
            [0, transform.scale_y, transform.shift_y / 2],
        ]
    )
    brought: Gray = cv2.warpAffine(
        np.ascontiguousarray(image), back, size, flags=how | cv2.WARP_INVERSE_MAP
    )
    return brought


def _blocks(first: Gray, second: Gray, shown: NDArray[np.bool_]) -> Iterator[float]:
    """Best local correlation of each block that is shown in both thumbnails and not flat."""
    pad = SEARCH_PX
    for top in range(pad, first.shape[0] - BLOCK_PX - pad + 1, BLOCK_PX):
        for left in range(pad, first.shape[1] - BLOCK_PX - pad + 1, BLOCK_PX):
            block = first[top : top + BLOCK_PX, left : left + BLOCK_PX]
            window = np.s_[top - pad : top + BLOCK_PX + pad, left - pad : left + BLOCK_PX + pad]
            if shown[window].mean() < 0.9 or block.std() < 6 or second[window].std() < 6:
                continue
            yield float(cv2.matchTemplate(second[window], block, cv2.TM_CCOEFF_NORMED).max())
