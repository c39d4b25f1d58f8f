"""Opening, checking, resizing and writing images: the only file that touches pixels on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.data.guard import check_allowed

Gray = NDArray[np.uint8]  # (H, W) in [0, 255]
Color = NDArray[np.uint8]  # (H, W, 3) RGB in [0, 255]
Mask = NDArray[np.bool_]  # (H, W), True inside the lesion


@dataclass(frozen=True)
class Letterbox:
    """How an image was fitted into a square: scaled by `scale`, then padded with black.

    Attributes:
        size: side of the square, pixels.
        height, width: native size, pixels.
        top, left: offset of the image inside the square, pixels.
        inner_height, inner_width: size of the image inside the square, pixels.
    """

    size: int
    height: int
    width: int
    top: int
    left: int
    inner_height: int
    inner_width: int


def letterbox_of(height: int, width: int, size: int) -> Letterbox:
    """The letterbox that fits (height, width) into (size, size) keeping the aspect ratio."""
    scale = size / max(height, width)
    inner_h, inner_w = max(1, round(height * scale)), max(1, round(width * scale))
    return Letterbox(
        size, height, width, (size - inner_h) // 2, (size - inner_w) // 2, inner_h, inner_w
    )


def letterbox(image: Gray, size: int) -> Gray:
    """Fit a (H, W) uint8 image into (size, size) uint8: area resampling, black padding, centred."""
    box = letterbox_of(*image.shape[:2], size)
    shrinking = max(image.shape[:2]) > size
    inner = cv2.resize(
        image,
        (box.inner_width, box.inner_height),
        interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR,
    )
    out: Gray = np.zeros((size, size), np.uint8)
    out[box.top : box.top + box.inner_height, box.left : box.left + box.inner_width] = inner
    return out


def unletterbox(square: NDArray[np.float32], box: Letterbox) -> NDArray[np.float32]:
    """Bring a (size, size) float32 map back to the (height, width) of the original image."""
    inner = square[box.top : box.top + box.inner_height, box.left : box.left + box.inner_width]
    resized: NDArray[np.float32] = cv2.resize(
        np.ascontiguousarray(inner, np.float32), (box.width, box.height),
        interpolation=cv2.INTER_LINEAR,
    )  # fmt: skip
    return resized


def read_gray(path: Path, frame: int = 0) -> Gray:
    """Read an image as (H, W) uint8 grey values.

    Raises:
        InputError: the file is missing, empty, truncated, not an image, or too large.
        LeakError: a guard forbids this file here.
    """
    check_allowed(path)
    raise NotImplementedError


def read_color(path: Path, frame: int = 0) -> Color:
    """Read an image as (H, W, 3) uint8 RGB; raises as `read_gray`."""
    check_allowed(path)
    raise NotImplementedError


def read_mask(paths: list[Path], height: int, width: int) -> Mask:
    """The union of mask files as (height, width) bool; all False when there is no file.

    Raises:
        InputError: a mask cannot be read or has another aspect ratio than its image.
    """
    raise NotImplementedError


def write_png(path: Path, image: Gray | Color, text: dict[str, str] | None = None) -> None:
    """Write a PNG atomically, with `text` as its tEXt/iTXt chunks (provenance)."""
    raise NotImplementedError
