"""What is remembered of each image to find its copies: upright local features and a thumbnail.

SIFT (Lowe 2004, IJCV 60:91) on a small, contrast-limited equalised image (Zuiderveld 1994):
structures of tissue survive another frame, gain or crop, single speckles do not. The features are
upright (a probe is never turned by more than a few degrees, and upright descriptors are more
distinctive) and compared by the Hellinger kernel (RootSIFT: Arandjelović & Zisserman 2012, CVPR).
The descriptors of the mirror image are a permutation of those of the image itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.data.images import Gray, Mask

THUMBNAIL_PX = 192  # longer side
LENGTH = 128  # of a SIFT descriptor: 4 rows x 4 columns x 8 directions
QUANTUM = 512.0  # RootSIFT values in [0, 0.5] are stored as uint8
MIRROR: NDArray[np.intp] = (
    np.arange(LENGTH).reshape(4, 4, 8)[:, ::-1][:, :, (4 - np.arange(8)) % 8].ravel()
)


@dataclass(frozen=True, slots=True)
class Features:
    """One image as the search for near-duplicates sees it.

    Attributes:
        points: (K, 2) float32, x and y in pixels of the thumbnail.
        descriptors: (K, 128) uint8 RootSIFT.
        thumbnail: (h, w) uint8, equalised; 0 where a mark covers the tissue, else at least 1.
    """

    points: NDArray[np.float32]
    descriptors: NDArray[np.uint8]
    thumbnail: Gray

    @property
    def width(self) -> int:
        """Width of the thumbnail, pixels."""
        return int(self.thumbnail.shape[1])


def describe(image: Gray, marked: Mask, side_px: int, keypoints: int) -> Features:
    """Features of a (H, W) uint8 image, none on the `marked` (H, W) pixels.

    Args:
        image: the grey values.
        marked: True where a mark covers the tissue.
        side_px: longer side of the copy in which local features are looked for.
        keypoints: most local features.
    """
    equal, covered = _equalised(image, marked, side_px)
    points, descriptors = _local(equal, covered, keypoints)
    thumbnail, hidden = _equalised(image, marked, THUMBNAIL_PX)
    shown = np.where(hidden, 0, np.maximum(thumbnail, 1)).astype(np.uint8)
    return Features(points * np.float32(THUMBNAIL_PX / side_px), descriptors, shown)


def mirrored(descriptors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The descriptors (K, 128) that the mirror image would have."""
    turned: NDArray[np.uint8] = descriptors[:, MIRROR]
    return turned


def unit(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Stored descriptors (K, 128) uint8 as float32 of unit length (up to rounding)."""
    scaled: NDArray[np.float32] = descriptors.astype(np.float32) / np.float32(QUANTUM)
    return scaled


def _equalised(image: Gray, marked: Mask, side_px: int) -> tuple[Gray, Mask]:
    scale = side_px / max(image.shape)
    size = (max(8, round(image.shape[1] * scale)), max(8, round(image.shape[0] * scale)))
    shown = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    covered = cv2.resize(marked.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA)
    equal = cv2.createCLAHE(clipLimit=3.0, tileGridSize=(8, 8)).apply(shown)
    return np.asarray(equal, np.uint8), np.asarray(covered > 0)


def _local(
    equal: Gray, covered: Mask, keypoints: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    sift = cv2.SIFT.create(nfeatures=keypoints, contrastThreshold=0.02, edgeThreshold=12)
    distinct: dict[tuple[float, ...], cv2.KeyPoint] = {}
    for point in sift.detect(equal, np.where(covered, 0, 255).astype(np.uint8)):
        point.angle = 0.0
        distinct.setdefault((*point.pt, point.size), point)
    if not distinct:
        return np.zeros((0, 2), np.float32), np.zeros((0, LENGTH), np.uint8)
    kept, raw = sift.compute(equal, list(distinct.values()))
    share = raw / np.maximum(raw.sum(axis=1, keepdims=True), 1e-6)
    root = np.minimum(np.round(np.sqrt(share) * QUANTUM), 255).astype(np.uint8)
    return np.array([point.pt for point in kept], np.float32).reshape(-1, 2), root
