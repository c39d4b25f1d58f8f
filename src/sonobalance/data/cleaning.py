"""Painting over burnt-in marks: whether a network may read them is a setting.

Inside `cleaned(True)` every image is read without its marks, by whichever stage and for TRAIN, VAL,
TEST and new images alike; `model.json` tells that a classifier was trained so. An image is cleaned
from its own pixels only, so nothing passes between parts (promise P1), and the guard of
`data.guard` is asked before as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.data.audit.marks import CHROMA, Mark, find_marks
from sonobalance.data.images import Color, Gray, changes, seen_through

RADIUS_PX = 3  # of the surroundings that are painted from
MOST_COLOURED = 0.1  # share of the image; a larger coloured area is tissue under a colour map
MARGIN_PX = 3  # around the box of a mark
STROKE_SHARE = 0.02  # of the longer side: wider bright things are tissue
RISE = 30  # grey values by which a stroke exceeds its surroundings in the box of a mark
LINE_RISE = 15  # the same on a measuring line, which is thinner and may be dotted
LINE_WIDTH_PX = 5  # a line from cross to cross may miss their middles by so much
MOST_CALIPERS = 12
PALE_CHROMA = 12  # difference of colour channels inside a colour window


@contextmanager
def cleaned(active: bool, *, leave: Iterable[Path] = ()) -> Iterator[None]:
    """Inside, images are read without their marks when `active`; otherwise nothing changes.

    Args:
        active: whether to clean.
        leave: folders whose images are read as they are, such as those of synthetic images.
    """
    if not active:
        yield
        return
    with seen_through(clean_marks, leave=leave):
        yield


def cleaning() -> bool:
    """Whether images are read without their marks at present."""
    return clean_marks in changes()


def clean_marks(image: Gray | Color) -> Gray:
    """Paint over calipers, text, pictograms, logos and coloured overlays from their surroundings.

    Fast marching (Telea 2004, J Graphics Tools 9:23). Images without marks come back as they are.

    Args:
        image: (H, W) grey or (H, W, 3) RGB uint8.

    Returns:
        (H, W) uint8 grey values.
    """
    color = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if image.ndim == 2 else image
    gray = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    covered = mark_pixels(color)
    if not covered.any():
        return gray
    painted: Gray = cv2.inpaint(gray, covered.astype(np.uint8), RADIUS_PX, cv2.INPAINT_TELEA)
    return painted


def mark_pixels(image: Color) -> NDArray[np.bool_]:
    """(H, W) bool: what the marks of an RGB image cover.

    In the boxes of marks and on the straight lines between calipers this is what is brighter than
    its surroundings and narrower than `STROKE_SHARE` of the longer side; what is coloured counts
    everywhere.
    """
    marks = find_marks(image).found
    gray = image.max(axis=2)
    stroke = max(5, round(STROKE_SHARE * max(gray.shape)) | 1)
    opened = cv2.morphologyEx(gray, cv2.MORPH_OPEN, np.ones((stroke, stroke), np.uint8))
    rise = gray.astype(np.int16) - opened
    inside, lines = _boxes(marks, gray.shape), _lines(marks, gray.shape)
    drawn = (inside & (rise >= RISE)) | (lines & (rise >= LINE_RISE))
    coloured = _coloured(image, marks)
    grown = cv2.dilate((drawn | coloured).astype(np.uint8), np.ones((3, 3), np.uint8))
    return np.asarray(grown > 0)


def _boxes(marks: Sequence[Mark], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    inside = np.zeros(shape, np.bool_)
    for m in marks:
        if m.kind != "colour":
            rows = slice(max(0, m.y - MARGIN_PX), m.y + m.height + MARGIN_PX)
            inside[rows, max(0, m.x - MARGIN_PX) : m.x + m.width + MARGIN_PX] = True
    return inside


def _lines(marks: Sequence[Mark], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where measuring lines may run: between the middles of any two calipers."""
    drawn = np.zeros(shape, np.uint8)
    ends = [(m.x + m.width // 2, m.y + m.height // 2) for m in marks if m.kind == "caliper"]
    for start, end in combinations(ends[:MOST_CALIPERS], 2):
        cv2.line(drawn, start, end, 1, LINE_WIDTH_PX)
    return np.asarray(drawn > 0)


def _coloured(image: Color, marks: Sequence[Mark]) -> NDArray[np.bool_]:
    chroma = image.max(axis=2) - image.min(axis=2)
    coloured = chroma >= CHROMA
    for m in marks:
        if m.kind == "colour":  # the frame of a colour window is thin and pale
            box = np.s_[m.y : m.y + m.height, m.x : m.x + m.width]
            coloured[box] |= chroma[box] >= PALE_CHROMA
    return coloured if coloured.mean() <= MOST_COLOURED else np.zeros(coloured.shape, np.bool_)
