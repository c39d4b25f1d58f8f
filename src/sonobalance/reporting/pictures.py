"""Images as data URIs inside the page, each with the words for readers who cannot see it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sonobalance.data.images import Gray, letterbox, read_color, read_gray
from sonobalance.data.manifest import Record
from sonobalance.errors import InputError

JPEG_QUALITY = 88


@dataclass(frozen=True)
class Picture:
    """One image on the page.

    Attributes:
        uri: data URI; empty where the file cannot be read any more.
        width, height: pixels of the embedded image.
        alt: the text that stands for the image.
        caption: a short line below it; may be empty.
    """

    uri: str
    width: int
    height: int
    alt: str
    caption: str = ""


def data_uri(image: Gray, kind: str = "jpg") -> str:
    """An image (H, W) or (H, W, 3) RGB uint8 as a data URI; `kind` is `jpg` or `png`."""
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if kind == "jpg" else []
    data = cv2.imencode(f".{kind}", pixels, options)[1].tobytes()
    mime = {"jpg": "jpeg", "png": "png"}[kind]
    return f"data:image/{mime};base64,{base64.b64encode(data).decode('ascii')}"


def fit(image: Gray, side_px: int) -> Gray:
    """The image shrunk so that its longer side is at most `side_px`; never enlarged."""
    scale = side_px / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    shrunk: Gray = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return shrunk


def embed(image: Gray, alt: str, caption: str = "", kind: str = "jpg") -> Picture:
    """An array as a picture."""
    return Picture(data_uri(image, kind), image.shape[1], image.shape[0], alt, caption)


def scan(
    images: Mapping[str, tuple[Path, Record]], key: str, side_px: int, caption: str | None = None
) -> Picture:
    """An image of a manifest, at most `side_px` long, or its place-holder."""
    image = _pixels(images, key)
    label = images[key][1].label if key in images else ""
    alt = f"Ultrasound image {key}" + (f", class {label}" if label else "")
    shown = key if caption is None else caption
    if image is None:
        return Picture("", side_px, side_px, f"{alt} (file not available)", shown)
    return embed(fit(image, side_px), alt, shown)


def square(
    images: Mapping[str, tuple[Path, Record]], key: str, size_px: int, words: str, caption: str = ""
) -> Picture:
    """An image as the generator sees it: letterboxed to `size_px`, so that scales agree."""
    image = _pixels(images, key)
    alt = f"{words} {key}"
    if image is None:
        return Picture("", size_px, size_px, f"{alt} (file not available)", caption)
    return embed(letterbox(image, size_px), alt, caption, "png" if size_px <= 64 else "jpg")


def overlay(path: Path, side_px: int, alt: str) -> Picture:
    """A colour image file written by the run, such as an evidence map."""
    try:
        image = np.asarray(read_color(path))
    except InputError:
        return Picture("", side_px, side_px, f"{alt} (file not available)")
    return embed(fit(image, side_px), alt)


def _pixels(images: Mapping[str, tuple[Path, Record]], key: str) -> Gray | None:
    if key not in images:
        return None
    path, record = images[key]
    try:
        return read_gray(path, record.frame)
    except InputError:
        return None
