"""Do two aligned thumbnails agree block by block, with neighbouring blocks moved alike?

Soft tissue of a neighbouring frame is deformed, so each block is searched around its place. Any
block finds some likeness by chance, but then in a random direction; where the tissue is the same,
neighbouring blocks move together. Their number is the evidence.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.data.audit.features import Features
from sonobalance.data.audit.geometry import Transform, fit
from sonobalance.data.images import Gray

BLOCK_PX = 24
STEP_PX = 16
SEARCH_PX = 8
ALIKE = 0.4  # normalised cross-correlation from which a block counts as found
TOGETHER_PX = 1.0  # neighbours moved alike differ by no more, along x and y
SUPPORT = 2  # neighbours of eight that must have moved alike
FLAT_STD = 6.0  # grey values
SHOWN = 0.9  # least share of a block's pixels that both images show
ROUNDS = 2
NEIGHBOURS = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well two images agree in their common part.

    Attributes:
        blocks: blocks that both show and that are not flat.
        coherent: blocks found in the other image and moved like their neighbours.
        correlation: median over blocks of the best normalised cross-correlation, in [-1, 1].
        overlap: share of the smaller image that lies inside the other, in [0, 1].
        transform: the transform after refinement by the coherent blocks.
    """

    blocks: int
    coherent: int
    correlation: float
    overlap: float
    transform: Transform


def agree(first: Features, second: Features, transform: Transform) -> Agreement:
    """Compare the thumbnails under a transform, refining it once by the blocks that agree."""
    other = second.thumbnail[:, ::-1] if transform.mirror else second.thumbnail
    for _ in range(ROUNDS):
        places, moves, found = _search(first.thumbnail, bring(other, transform, first.thumbnail))
        coherent = _coherent(moves, found)
        used = transform
        if coherent.sum() >= SUPPORT + 1:
            source = places[coherent]
            transform = fit(source, used.apply(source + moves[coherent]), used)
    seen = np.isfinite(found)
    correlation = float(np.median(found[seen])) if seen.any() else 0.0
    overlap = _overlap(first.thumbnail, other, used)
    return Agreement(int(seen.sum()), int(coherent.sum()), correlation, overlap, used)


def bring(image: Gray, transform: Transform, frame: Gray) -> Gray:
    """The second thumbnail as it lies in the frame of the first; 0 outside."""
    back = np.array(
        [[transform.scale_x, 0, transform.shift_x], [0, transform.scale_y, transform.shift_y]],
        np.float64,
    )
    brought: Gray = cv2.warpAffine(
        np.ascontiguousarray(image), back, (frame.shape[1], frame.shape[0]),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )  # fmt: skip
    return brought


def _search(
    first: Gray, second: Gray
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Centres (R, C, 2), moves (R, C, 2), likeness (R, C; NaN where not comparable) of blocks."""
    margin = BLOCK_PX + SEARCH_PX
    tops = range(SEARCH_PX, first.shape[0] - margin + 1, STEP_PX)
    lefts = range(SEARCH_PX, first.shape[1] - margin + 1, STEP_PX)
    shape = (len(tops), len(lefts))
    centres = np.zeros((*shape, 2), np.float32)
    moves = np.zeros((*shape, 2), np.float32)
    found = np.full(shape, np.nan, np.float32)
    shown = cv2.boxFilter(((first > 0) & (second > 0)).astype(np.float32), -1, (BLOCK_PX, BLOCK_PX))
    for row, top in enumerate(tops):
        for column, left in enumerate(lefts):
            middle = (top + BLOCK_PX // 2, left + BLOCK_PX // 2)
            centres[row, column] = middle[::-1]
            block = first[top : top + BLOCK_PX, left : left + BLOCK_PX]
            window = second[top - SEARCH_PX : top + margin, left - SEARCH_PX : left + margin]
            if shown[middle] < SHOWN or block.std() < FLAT_STD or window.std() < FLAT_STD:
                continue
            likeness = cv2.matchTemplate(window, block, cv2.TM_CCOEFF_NORMED)
            _, found[row, column], _, place = cv2.minMaxLoc(likeness)
            moves[row, column] = np.subtract(place, SEARCH_PX)
    return centres, moves, found


def _coherent(moves: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Blocks (R, C) that were found and moved like at least `SUPPORT` neighbours."""
    good = np.nan_to_num(found, nan=-1) >= ALIKE
    padded_moves = np.pad(moves, ((1, 1), (1, 1), (0, 0)))
    padded_good = np.pad(good, 1)
    rows, columns = good.shape
    support = np.zeros(good.shape, int)
    for y, x in NEIGHBOURS:
        window = np.s_[1 + y : 1 + y + rows, 1 + x : 1 + x + columns]
        alike = np.abs(padded_moves[window] - moves).max(axis=2, initial=0) <= TOGETHER_PX
        support += padded_good[window] & alike
    coherent: NDArray[np.bool_] = good & (support >= SUPPORT)
    return coherent


def _overlap(first: Gray, second: Gray, transform: Transform) -> float:
    """Share of the smaller image inside the other."""
    width = _common(first.shape[1], second.shape[1], transform.scale_x, transform.shift_x)
    height = _common(first.shape[0], second.shape[0], transform.scale_y, transform.shift_y)
    area = second.size / (transform.scale_x * transform.scale_y)
    return min(1.0, width * height / min(first.size, area))


def _common(first: int, second: int, scale: float, shift: float) -> float:
    """Length of the part of [0, first] that the transform brings into [0, second]."""
    return max(0.0, min(first, (second - shift) / scale) - max(0.0, -shift / scale))
