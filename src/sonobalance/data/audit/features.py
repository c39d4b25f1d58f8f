"""What is remembered of each image to find its copies: upright local features and a thumbnail.

SIFT (Lowe 2004, IJCV 60:91) on a contrast-limited equalised image (Zuiderveld 1994), without
rotation (a probe is never turned by more than a few degrees, and upright descriptors are more
distinctive), compared by the Hellinger kernel (RootSIFT: Arandjelović & Zisserman 2012, CVPR).
The descriptors of the mirror image are a permutation of those of the image itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.data.images import Gray, Mask

LENGTH = 128  # of a SIFT descriptor: 4 rows x 4 columns x 8 directions
QUANTUM = 512.0  # RootSIFT values in [0, 0.5] are stored as uint8
MIRROR: NDArray[np.intp] = (
    np.arange(LENGTH).reshape(4, 4, 8)[:, ::-1][:, :, (4 - np.arange(8)) % 8].ravel()
)


@dataclass(frozen=True, slots=True)
class Features:
    """One image as the search for near-duplicates sees it.

    Attributes:
        points: (K, 2) float32, x and y in pixels of the working image.
        descriptors: (K, 128) uint8 RootSIFT.
        thumbnail: (h, w) uint8, equalised, half the side of the working image.
        valid: (h, w) bool, False where the thumbnail shows marks or nothing.
        width, height: size of the working image, pixels.
    """

    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    thumbnail: Gray
    valid: NDArray[np.bool_]
    width: int
    height: int


def describe(image: Gray, marked: Mask, side_px: int, keypoints: int) -> Features:
    """Features of a (H, W) uint8 image, none on the `marked` (H, W) pixels.

    They are taken from a copy whose longer side is `side_px`.
    """
    scale = side_px / max(image.shape)
    size = (max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale)))
    shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    covered = cv2.resize(marked.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    usable = np.where(covered > 0, 0, 255).astype(np.uint8)
    equal = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(shown)
    points, descriptors = _local(equal, usable, keypoints)
    half = (max(4, size[0] // 2), max(4, size[1] // 2))
    thumbnail = cv2.resize(equal, half, interpolation=cv2.INTER_AREA)
    valid = cv2.resize(usable, half, interpolation=cv2.INTER_NEAREST) > 0
    return Features(points, descriptors, thumbnail, valid, *size)


def mirrored(descriptors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The descriptors (K, 128) that the mirror image would have."""
    turned: NDArray[np.uint8] = descriptors[:, MIRROR]
    return turned


def unit(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stored descriptors (K, 128) uint8 as float32 of unit length."""
    values = descriptors.astype(np.float32)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = values / np.maximum(length, 1e-6)
    return scaled


def _local(
    equal: Gray, usable: Gray, keypoints: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    sift = cv2.SIFT.create(nfeatures=keypoints, contrastThreshold=0.02, edgeThreshold=12)
    distinct: dict[tuple[float, ...], cv2.KeyPoint] = {}
    for point in sift.detect(equal, usable):
        point.angle = 0.0
        distinct.setdefault((*point.pt, point.size), point)
    if not distinct:
        return np.zeros((0, 2), np.float32), np.zeros((0, LENGTH), np.uint8)
    kept, raw = sift.compute(equal, list(distinct.values()))
    share = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-6)
    root = np.minimum(np.round(np.sqrt(share) * QUANTUM), 255).astype(np.uint8)
    return np.array([point.pt for point in kept], np.float32).reshape(-1, 2), root
