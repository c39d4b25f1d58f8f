"""Marks burnt into images: calipers, text, pictograms, colour boxes, the maker's logo.

Overlays are drawn with edges one pixel wide. Speckle cannot have such edges from left to right,
because the beam blurs the image laterally; so thin bright strokes with sharp flanks are marks.
Sizes are in pixels of a working copy whose longer side is at most `WORKING_PX`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.data.images import Color, Gray

MarkKind = Literal["caliper", "text", "pictogram", "colour", "logo"]
KINDS: tuple[MarkKind, ...] = ("caliper", "text", "pictogram", "colour", "logo")

WORKING_PX = 384
STROKE_PX = 3  # a stroke is darker this far to its left and right
RISE = 45  # grey values by which a stroke exceeds both sides
SHARP = 40  # grey values between neighbouring pixels at its flank
BRIGHT = 120
FEWEST_PIXELS = 8
ARMS_PX = (4, 5, 6)  # of a caliper cross
CROSS = 0.72  # normalised correlation with a cross
CHROMA = 24  # difference of the largest and smallest colour channel
FEWEST_COLOURED = 25
PICTOGRAM_PX = 20
CORNER_PX = 14


@dataclass(frozen=True, slots=True)
class Mark:
    """One mark: its kind and its box in pixels of the native image."""

    kind: MarkKind
    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one image.

    Attributes:
        found: the marks, from top to bottom and left to right.
        pixels: (H, W) bool at native size, True on the strokes themselves.
    """

    found: tuple[Mark, ...]
    pixels: NDArray[np.bool_] = field(repr=False)


def find_marks(image: Color) -> Marks:
    """Find the marks of a (H, W, 3) uint8 RGB image."""
    height, width = image.shape[:2]
    scale = min(1.0, WORKING_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
    gray = small.max(axis=2)
    strokes = stroke_mask(gray)
    crosses = find_crosses(gray, strokes)
    boxes: list[tuple[MarkKind, tuple[int, int, int, int]]] = [("caliper", box) for box in crosses]
    boxes += label_strokes(strokes, crosses)
    boxes += [("colour", box) for box in find_colour(small)]
    marks = (
        Mark(kind, int(x / scale), int(y / scale), int(np.ceil(w / scale)), int(np.ceil(h / scale)))
        for kind, (x, y, w, h) in boxes
    )
    grown = cv2.dilate(strokes, np.ones((5, 5), np.uint8))
    pixels = cv2.resize(grown, (width, height), interpolation=cv2.INTER_NEAREST) > 0
    return Marks(tuple(sorted(marks, key=lambda m: (m.y, m.x, m.kind))), pixels)


def stroke_mask(gray: Gray) -> NDArray[np.uint8]:
    """Pixels (1) of thin bright strokes with sharp flanks in a (H, W) uint8 image.

    A group of such pixels counts when it holds a vertical run of three and `FEWEST_PIXELS` in all.
    """
    value = gray.astype(np.int16)
    wide = np.pad(value, ((0, 0), (STROKE_PX, STROKE_PX)), mode="edge")
    rise = value - np.maximum(wide[:, : -2 * STROKE_PX], wide[:, 2 * STROKE_PX :])
    step = np.abs(np.diff(value, axis=1, prepend=value[:, :1])).astype(np.uint8)
    flank = cv2.dilate(step, np.ones((1, 5), np.uint8))
    thin = ((rise >= RISE) & (flank >= SHARP) & (value >= BRIGHT)).astype(np.uint8)
    runs = cv2.morphologyEx(thin, cv2.MORPH_OPEN, np.ones((3, 1), np.uint8))
    joined = cv2.morphologyEx(thin, cv2.MORPH_CLOSE, np.ones((5, 11), np.uint8))
    count, labels = cv2.connectedComponents(joined)
    inside = np.bincount(labels[thin > 0], minlength=count) >= FEWEST_PIXELS
    inside &= np.bincount(labels[runs > 0], minlength=count) > 0
    inside[0] = False
    return thin * inside[labels].astype(np.uint8)


def find_crosses(gray: Gray, strokes: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """Boxes (x, y, width, height) of caliper crosses that contain strokes."""
    best = np.zeros(gray.shape, np.float32)
    arm = np.zeros(gray.shape, np.intp)
    for length in ARMS_PX:
        if min(gray.shape) <= 2 * length + 3:
            continue
        cross = _cross(length)
        likeness = cv2.matchTemplate(gray, cross, cv2.TM_CCOEFF_NORMED)
        inner = np.s_[length + 1 : -length - 1, length + 1 : -length - 1]
        better = likeness > best[inner]
        best[inner][better], arm[inner][better] = likeness[better], length
    peak = (best == cv2.dilate(best, np.ones((9, 9), np.uint8))) & (best >= CROSS)
    boxes = []
    for y, x in np.argwhere(peak):
        reach = int(arm[y, x])
        if strokes[y - reach : y + reach + 1, x - 1 : x + 2].sum() >= reach:
            boxes.append((int(x) - reach, int(y) - reach, 2 * reach + 1, 2 * reach + 1))
    return boxes


def label_strokes(
    strokes: NDArray[np.uint8], crosses: Sequence[tuple[int, int, int, int]]
) -> list[tuple[MarkKind, tuple[int, int, int, int]]]:
    """Kinds and boxes of the groups of strokes that are not calipers or their numbers and lines."""
    rest = strokes.copy()
    for x, y, width, height in crosses:
        rest[max(0, y - 9) : y + height + 9, max(0, x - 9) : x + width + 9] = 0
    runs = cv2.morphologyEx(rest, cv2.MORPH_OPEN, np.ones((3, 1), np.uint8))
    joined = cv2.morphologyEx(rest, cv2.MORPH_CLOSE, np.ones((5, 15), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    pixels = np.bincount(labels[rest > 0], minlength=count)
    upright = np.bincount(labels[runs > 0], minlength=count)
    out: list[tuple[MarkKind, tuple[int, int, int, int]]] = []
    for k in range(1, count):
        x, y, width, height = (int(value) for value in stats[k, :4])
        if pixels[k] < FEWEST_PIXELS or upright[k] < 3:
            continue
        out.append((_stroke_kind(x, y, width, height), (x, y, width, height)))
    return out


def find_colour(image: Color) -> list[tuple[int, int, int, int]]:
    """Boxes of coloured areas, such as flow or the frame of a Doppler window, in (H, W, 3) RGB."""
    chroma = np.ptp(image, axis=2)
    coloured = (chroma >= CHROMA).astype(np.uint8)
    if coloured.sum() < FEWEST_COLOURED:
        return []
    joined = cv2.morphologyEx(coloured, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined)
    pixels = np.bincount(labels[coloured > 0], minlength=count)
    boxes = [tuple(int(v) for v in stats[k, :4]) for k in range(1, count)]
    kept = [box for k, box in enumerate(boxes, 1) if pixels[k] >= FEWEST_COLOURED]
    return [(x, y, w, h) for x, y, w, h in kept]


def clean_marks(image: Gray, boxes: Sequence[Mark]) -> Gray:
    """Paint over the strokes inside the boxes from their surroundings (Telea 2004).

    Args:
        image: (H, W) uint8.
        boxes: marks as `find_marks` gives them, native pixels.
    """
    strokes = find_marks(np.repeat(image[..., None], 3, axis=2)).pixels
    wanted = np.zeros(image.shape, np.uint8)
    for box in boxes:
        area = np.s_[box.y : box.y + box.height, box.x : box.x + box.width]
        wanted[area] = strokes[area]
    painted: Gray = cv2.inpaint(image, wanted, 3, cv2.INPAINT_TELEA)
    return painted


def _stroke_kind(x: int, y: int, width: int, height: int) -> MarkKind:
    if x + width <= CORNER_PX and y + height <= CORNER_PX:
        return "logo"
    if height >= PICTOGRAM_PX and width <= 3 * height:
        return "pictogram"
    return "text"


def _cross(arm: int) -> Gray:
    side = 2 * arm + 3
    cross: Gray = np.zeros((side, side), np.uint8)
    cross[arm + 1, 1:-1] = 255
    cross[1:-1, arm + 1] = 255
    return cv2.GaussianBlur(cross, (3, 3), 0.5)
