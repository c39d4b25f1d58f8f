"""Burnt-in marks: found where they are drawn, and not where there are none."""

from __future__ import annotations

import cv2
import numpy as np

from sonobalance.data.audit.marks import Mark, find_marks
from sonobalance.data.images import Color, Gray


def scan(seed: int = 0) -> Gray:
    """Laterally smooth speckle, as a beam makes it."""
    rng = np.random.default_rng(seed)
    speckle = cv2.GaussianBlur(rng.normal(size=(300, 380)), (0, 0), 2.2, sigmaY=1.0)
    return np.clip(90 + speckle * 180, 0, 190).astype(np.uint8)


def color(image: Gray) -> Color:
    return np.repeat(image[..., None], 3, axis=2)


def near(mark: Mark, x: float, y: float) -> bool:
    return (
        mark.x - 8 <= x <= mark.x + mark.width + 8 and mark.y - 8 <= y <= mark.y + mark.height + 8
    )


def test_plain_tissue_has_no_marks() -> None:
    for seed in range(8):
        assert find_marks(color(scan(seed))).found == ()


def test_calipers_are_found_at_both_ends() -> None:
    image = scan(1)
    for x, y in ((120, 140), (220, 150)):
        cv2.drawMarker(image, (x, y), 250, cv2.MARKER_CROSS, 11, 1)
    calipers = [m for m in find_marks(color(image)).found if m.kind == "caliper"]
    assert any(near(m, 120, 140) for m in calipers)
    assert any(near(m, 220, 150) for m in calipers)


def test_text_is_found_and_not_taken_for_calipers() -> None:
    image = scan(2)
    cv2.putText(image, "RT BREAST", (60, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 250, 1)
    marks = find_marks(color(image)).found
    assert {m.kind for m in marks} == {"text"}
    assert any(near(m, 100, 195) for m in marks)


def test_a_colour_window_is_found() -> None:
    image = color(scan(3))
    cv2.rectangle(image, (100, 60), (250, 180), (190, 190, 60), 1)
    cv2.circle(image, (160, 120), 9, (220, 30, 20), -1)
    (mark,) = [m for m in find_marks(image).found if m.kind == "colour"]
    assert abs(mark.x - 100) <= 3
    assert abs(mark.y - 60) <= 3
    assert abs(mark.width - 150) <= 6


def test_boxes_are_in_native_pixels() -> None:
    image = cv2.resize(scan(4), None, fx=2, fy=2)
    cv2.putText(image, "LEFT BREAST", (200, 500), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 2)
    marks = [m for m in find_marks(color(image)).found if m.kind == "text"]
    assert any(near(m, 300, 490) for m in marks)


def test_tiny_images_are_survived() -> None:
    for shape in ((1, 1), (2, 9), (12, 5)):
        assert find_marks(np.full((*shape, 3), 200, np.uint8)).found == ()
