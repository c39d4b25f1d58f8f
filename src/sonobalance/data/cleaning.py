"""Painting over burnt-in marks: whether a network may read them is a setting.

Inside `cleaned(True)` every image is read without its marks, by whichever stage and for TRAIN, VAL,
TEST and new images alike; `model.json` tells that a classifier was trained so. An image is cleaned
from its own pixels only, so nothing passes between parts (promise P1), and the guard of
`data.guard` is asked before as ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.data.audit.marks import CHROMA, find_marks
from sonobalance.data.images import Color, Gray, changes, seen_through

RADIUS_PX = 3  # of the surroundings that are painted from
MOST_COLOURED = 0.1  # share of the image; a larger coloured area is tissue under a colour map
MARGIN_PX = 2  # around the box of a mark


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
    """(H, W) bool: the strokes inside the marks of an RGB image, and what is coloured in it."""
    marks = find_marks(image)
    inside = np.zeros(image.shape[:2], np.bool_)
    boxes = [(m.x, m.y, m.width, m.height) for m in marks.found if m.kind != "colour"]
    calipers = [m for m in marks.found if m.kind == "caliper"]
    if calipers:  # measuring lines run between them
        corners = np.array([(m.x, m.y, m.x + m.width, m.y + m.height) for m in calipers])
        (left, top), (right, bottom) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
        boxes.append((int(left), int(top), int(right - left), int(bottom - top)))
    for x, y, width, height in boxes:
        rows = slice(max(0, y - MARGIN_PX), y + height + MARGIN_PX)
        inside[rows, max(0, x - MARGIN_PX) : x + width + MARGIN_PX] = True
    return np.asarray((marks.pixels & inside) | _coloured(image))


def _coloured(image: Color) -> NDArray[np.bool_]:
    chroma = image.max(axis=2) - image.min(axis=2)
    coloured = (chroma >= CHROMA).astype(np.uint8)
    if coloured.mean() > MOST_COLOURED:
        return np.zeros(coloured.shape, np.bool_)
    return np.asarray(cv2.dilate(coloured, np.ones((3, 3), np.uint8)) > 0)
