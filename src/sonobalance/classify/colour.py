"""How coloured a picture is before it becomes grey; without torch, as decoders are."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonobalance.data.cleaning import clean_marks
from sonobalance.data.images import Gray, read_color, seen_through
from sonobalance.data.manifest import Manifest

T = TypeVar("T")
CHROMA = 40  # difference of colour channels from which a pixel is clearly coloured
_noted = threading.local()


def colour_share(picture: NDArray[np.uint8]) -> float:
    """Share of clearly coloured pixels of an (H, W, 3) uint8 picture; 0 for a grey (H, W) one."""
    if picture.ndim == 2:
        return 0.0
    red, green, blue = (picture[..., channel] for channel in range(3))
    highest = np.maximum(np.maximum(red, green), blue)
    return float((highest - np.minimum(np.minimum(red, green), blue) > CHROMA).mean())


def colours_of(images: Manifest) -> NDArray[np.float64]:
    """(N,) the `colour_share` of every image, from its file."""
    return np.array([colour_share(read_color(images.file(r), r.frame)) for r in images])


def with_colour(read: Callable[[], T], *, clean: bool = False) -> tuple[T, float]:
    """What is read as grey, and the `colour_share` of the picture before that.

    Args:
        read: calls `read_gray` or `read_upload`, once and in this thread.
        clean: paint over burnt-in marks, as `cleaned` does.
    """
    with seen_through(_noting_clean if clean else _noting):
        return read(), _noted.share


def _noting(picture: NDArray[np.uint8]) -> Gray:
    _noted.share = colour_share(picture)
    return picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))


def _noting_clean(picture: NDArray[np.uint8]) -> Gray:
    _noted.share = colour_share(picture)
    return clean_marks(picture)
