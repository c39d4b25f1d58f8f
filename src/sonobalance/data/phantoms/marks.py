"""Marks that machines and readers burn into images: calipers and text."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Gray = NDArray[np.uint8]
Box = tuple[int, int, int, int]  # x, y, width, height in pixels
TEXTS = ("RT BREAST", "LT BREAST", "RT AXILLA", "LT 3 O'CLOCK", "RT 10 O'CLOCK", "RAD", "ANTI RAD")


def burn_calipers(image: Gray, mask: NDArray[np.bool_]) -> tuple[Gray, Box]:
    """Two crosses at the ends of the lesion's width, joined by a dotted line, and their box."""
    out = image.copy()
    rows, columns = np.nonzero(mask)
    row = int(np.median(rows))
    left, right = int(columns.min()), int(columns.max())
    arm = max(2, round(max(image.shape) / 50))
    for column in (left, right):
        cv2.drawMarker(out, (column, row), 255, cv2.MARKER_CROSS, 2 * arm + 1, 1)
    out[row, left : right + 1 : 4] = np.maximum(out[row, left : right + 1 : 4], 220)
    return out, clipped(left - arm, row - arm, right + arm + 1, row + arm + 1, image.shape)


def burn_text(image: Gray, rng: np.random.Generator) -> tuple[Gray, Box]:
    """A word near the upper or lower border, and its box."""
    out, text = image.copy(), str(rng.choice(TEXTS))
    scale = max(0.25, max(image.shape) / 420)
    (width, height), baseline = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x = int(rng.integers(2, max(3, image.shape[1] - width - 2)))
    y = height + 3 if rng.random() < 0.5 else image.shape[0] - baseline - 3
    cv2.putText(out, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1)
    return out, clipped(x, y - height - 1, x + width, y + baseline, image.shape)


def clipped(left: int, top: int, right: int, bottom: int, shape: tuple[int, ...]) -> Box:
    """The box between these edges (right and bottom exclusive) inside an image of this shape."""
    left, top = max(0, left), max(0, top)
    return left, top, min(right, shape[1]) - left, min(bottom, shape[0]) - top
