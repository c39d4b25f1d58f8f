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

Box = tuple[int, int, int, int]  # x, y, width, height in pixels
WORKING_PX = 384
STROKE_PX = 3  # a stroke is darker this far to its left and right
RISE = 45  # grey values by which a stroke exceeds both sides
SHARP = 40  # grey values between neighbouring pixels at its flank
BRIGHT = 120
FEWEST_PIXELS = 8
FEWEST_UPRIGHT = 3  # pixels in vertical runs
ARMS_PX = (4, 5, 6)  # of a caliper cross
CROSS = 0.5  # normalised correlation with a cross
SURE_CROSS = 0.8  # the same inside a word, or without a second cross
WORD_PX = 18  # letters reach so far along the line, and less across
LINE_PX = 6  # measuring lines and frames are thinner
ARM_RISE = 30  # grey values by which each arm exceeds the quarters between them
NEAR_PX = 8  # numbers and lines of a caliper are so close to its crosses
CHROMA = 24  # difference of the largest and smallest colour channel
FEWEST_COLOURED = 25
PICTOGRAM_PX = 20
LOGO_SHARE = 0.1  # of the sides: the upper corners belong to the maker's logo


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
    red, green, blue = cv2.split(np.ascontiguousarray(small))
    gray = cv2.max(cv2.max(red, green), blue)
    strokes = stroke_mask(gray)
    crosses = find_crosses(gray, strokes)
    boxes: list[tuple[MarkKind, Box]] = [("caliper", box) for box in crosses]
    boxes += label_strokes(strokes, crosses)
    boxes += [("colour", box) for box in find_colour(small, [box for _, box in boxes])]
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


def find_crosses(gray: Gray, strokes: NDArray[np.uint8]) -> list[Box]:
    """Boxes of caliper crosses that contain strokes."""
    if not strokes.any():
        return []
    best = np.zeros(gray.shape, np.float32)
    arm = np.zeros(gray.shape, np.intp)
    for length in ARMS_PX:
        if min(gray.shape) <= 2 * length + 3:
            continue
        likeness = cv2.matchTemplate(gray, _cross(length), cv2.TM_CCOEFF_NORMED)
        inner = np.s_[length + 1 : -length - 1, length + 1 : -length - 1]
        better = likeness > best[inner]
        best[inner][better], arm[inner][better] = likeness[better], length
    peak = (best == cv2.dilate(best, np.ones((9, 9), np.uint8))) & (best >= CROSS)
    words = _words(strokes)
    found = []
    for y, x in np.argwhere(peak & (cv2.dilate(strokes, np.ones((3, 3), np.uint8)) > 0)):
        reach = int(arm[y, x])
        patch = gray[y - reach : y + reach + 1, x - reach : x + reach + 1]
        if (not words[y, x] or best[y, x] >= SURE_CROSS) and _has_four_arms(patch):
            box = (int(x) - reach, int(y) - reach, 2 * reach + 1, 2 * reach + 1)
            found.append((float(best[y, x]), box))
    alone = len(found) == 1 and found[0][0] < SURE_CROSS
    return [] if alone else [box for _, box in found]


def label_strokes(strokes: NDArray[np.uint8], crosses: Sequence[Box]) -> list[tuple[MarkKind, Box]]:
    """Kinds and boxes of the groups of strokes away from calipers, their numbers and lines."""
    joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((5, 15), np.uint8))
    for x, y, width, height in crosses:
        joined[y : y + height, x : x + width] = 1
    runs = cv2.morphologyEx(strokes, cv2.MORPH_OPEN, np.ones((3, 1), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    pixels = np.bincount(labels[strokes > 0], minlength=count)
    upright = np.bincount(labels[runs > 0], minlength=count)
    out: list[tuple[MarkKind, Box]] = []
    for k in range(1, count):
        x, y, width, height = (int(value) for value in stats[k, :4])
        if pixels[k] < FEWEST_PIXELS or upright[k] < FEWEST_UPRIGHT:
            continue
        box = (x, y, width, height)
        thin = min(width, height) <= LINE_PX and max(width, height) > 2 * LINE_PX
        if thin or any(_touch(box, cross) for cross in crosses):
            continue
        kind = _stroke_kind(box, strokes.shape)
        numeral = bool(crosses) and (kind == "pictogram" or max(width, height) <= PICTOGRAM_PX)
        out.append(("caliper" if numeral and kind != "logo" else kind, box))
    return out


def find_colour(image: Color, known: Sequence[Box]) -> list[Box]:
    """The box around all coloured areas of (H, W, 3) RGB that are not `known` marks, if any."""
    red, green, blue = cv2.split(np.ascontiguousarray(image))
    chroma = cv2.max(cv2.max(red, green), blue) - cv2.min(cv2.min(red, green), blue)
    coloured = (chroma >= CHROMA).astype(np.uint8)
    if cv2.countNonZero(coloured) < FEWEST_COLOURED:
        return []
    for x, y, width, height in known:
        coloured[
            max(0, y - NEAR_PX) : y + height + NEAR_PX, max(0, x - NEAR_PX) : x + width + NEAR_PX
        ] = 0
    joined = cv2.morphologyEx(coloured, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    count, labels = cv2.connectedComponents(joined)
    large = np.bincount(labels[coloured > 0], minlength=count) >= FEWEST_COLOURED
    large[0] = False
    if not large.any():
        return []
    x, y, width, height = cv2.boundingRect((large[labels]).astype(np.uint8))
    return [(x, y, width, height)]


def _stroke_kind(box: Box, shape: tuple[int, ...]) -> MarkKind:
    x, y, width, height = box
    beside = x <= LOGO_SHARE * shape[1] or x + width >= (1 - LOGO_SHARE) * shape[1]
    if beside and y + height <= LOGO_SHARE * shape[0]:
        return "logo"
    if height >= PICTOGRAM_PX and width <= 3 * height:
        return "pictogram"
    return "text"


def _words(strokes: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where strokes stand side by side like the letters of a word: (H, W) bool."""
    joined = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((1, 9), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats(joined, connectivity=8)
    wide = (stats[:, cv2.CC_STAT_WIDTH] >= WORD_PX) & (stats[:, cv2.CC_STAT_HEIGHT] <= WORD_PX)
    wide[0] = False
    grown = cv2.dilate(wide[labels].astype(np.uint8), np.ones((5, 5), np.uint8))
    return np.asarray(grown > 0) if count > 1 else np.zeros(strokes.shape, np.bool_)


def _has_four_arms(patch: Gray) -> bool:
    """Whether all arms of a (2r+1, 2r+1) patch are brighter than three of its four quarters."""
    reach = patch.shape[0] // 2
    value = patch.astype(np.float32)
    row = np.maximum(value[reach, :], np.maximum(value[reach - 1, :], value[reach + 1, :]))
    column = np.maximum(value[:, reach], np.maximum(value[:, reach - 1], value[:, reach + 1]))
    arms = [row[: reach - 1], row[reach + 2 :], column[: reach - 1], column[reach + 2 :]]
    near, far = slice(0, reach - 1), slice(reach + 2, None)
    quarters = [value[a, b].mean() for a in (near, far) for b in (near, far)]
    return min(arm.mean() for arm in arms) > sorted(quarters)[2] + ARM_RISE


def _touch(a: Box, b: Box) -> bool:
    """Whether two boxes are at most `NEAR_PX` apart."""
    return (
        a[0] <= b[0] + b[2] + NEAR_PX and b[0] <= a[0] + a[2] + NEAR_PX
        and a[1] <= b[1] + b[3] + NEAR_PX and b[1] <= a[1] + a[3] + NEAR_PX
    )  # fmt: skip


def _cross(arm: int) -> Gray:
    side = 2 * arm + 3
    cross: Gray = np.zeros((side, side), np.uint8)
    cross[arm + 1, 1:-1] = 255
    cross[1:-1, arm + 1] = 255
    return cv2.GaussianBlur(cross, (3, 3), 0.5)
