"""Which cases are shown, by rule and never by hand, and the pictures of each.

Pictures are kept apart, image, outline and maps, so that a page can lay them out for any width and
switch the outline off.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib import colormaps
from numpy.typing import NDArray

from sonobalance.data.images import Gray, Mask
from sonobalance.explanation.localisation import Map

COLOURS = "viridis"
OPACITY = 0.7
MAX_SIDE_PX = 480


@dataclass(frozen=True)
class Case:
    """One image of the gallery.

    Attributes:
        index: position of the image.
        rule: why it was chosen.
    """

    index: int
    rule: str


def choose_cases(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    confidence: NDArray[np.float64],
    *,
    ids: tuple[str, ...],
    classes: tuple[str, ...],
    per_class: int,
) -> list[Case]:
    """For every class, right and wrong cases evenly spaced from the most to the least confident.

    Args:
        labels: (N,) index of the true class.
        predicted: (N,) index of the predicted class.
        confidence: (N,) probability of the predicted class.
        ids: N image ids, which order cases of equal confidence.
        classes: class names.
        per_class: most right cases, and most wrong cases, of a class.
    """
    out = []
    for k, name in enumerate(classes):
        for right in (True, False):
            pool = np.flatnonzero((labels == k) & ((predicted == k) == right))
            ranked = sorted(pool.tolist(), key=lambda i: (-confidence[i], ids[i]))
            places = np.linspace(0, len(ranked) - 1, min(per_class, len(ranked)))
            out += [
                Case(ranked[place], _rule(name, place, len(ranked), right=right))
                for place in places.round().astype(int).tolist()
            ]
    return out


def _rule(name: str, place: int, count: int, *, right: bool) -> str:
    if count == 1:
        where = "the only one"
    elif place == 0:
        where = "most confident"
    elif place == count - 1:
        where = "least confident"
    else:
        where = f"number {place + 1} of {count} by confidence"
    return f"{'right' if right else 'wrong'}, {name}, {where}"


def stem(key: str) -> str:
    """The start of a file name for an image id, safe everywhere and unique."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", key).strip("-")[-40:]
    return f"{plain}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"


def tinted(image: Gray, map_: Map, peak: float) -> Gray:
    """A map's positive evidence in colour over its image; evidence against stays grey.

    The colours are perceptually uniform and safe for colour-blind readers. Colour and opacity grow
    from 0 to `peak`, so that next to nothing looks like next to nothing.

    Args:
        image: (H, W) uint8.
        map_: (H, W) float32.
        peak: value with the last colour, in the units of the map; above 0.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    level = np.clip(map_ / peak, 0, 1)
    colour = colormaps[COLOURS](level)[..., :3] * 255
    opacity = (OPACITY * np.sqrt(level))[..., None]
    out: Gray = (image[..., None] * (1 - opacity) + colour * opacity).round().astype(np.uint8)
    return out


def shown_size(image: Gray) -> Gray:
    """The image shrunk or enlarged so that its longer side is `MAX_SIDE_PX`."""
    scale = MAX_SIDE_PX / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized: Gray = cv2.resize(image, size, interpolation=method)
    return resized


def outline(mask: Mask) -> list[list[list[float]]]:
    """The closed outlines of a mask (H, W) as polygons of [x, y], each in [0, 1] of the image."""
    found = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)[0]
    size = np.array(mask.shape[::-1])
    return [((ring[:, 0] + 0.5) / size).round(4).tolist() for ring in found if len(ring) > 2]
