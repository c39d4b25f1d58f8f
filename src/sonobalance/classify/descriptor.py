"""An image descriptor that needs no trained weights: edges, layers and grey values.

For phantoms and other runs without a pretrained backbone. Histograms of oriented gradients (Dalal &
Triggs, CVPR 2005) hold outlines and tissue layers, a thumbnail holds where it is bright or dark
(a lesion, its shadow or enhancement), and quantiles hold the overall grey values.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

_SIDE, _CELL, _ORIENTATIONS = 64, 8, 9
_THUMBNAIL = 8
_QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
LENGTH = 7 * 7 * 4 * _ORIENTATIONS + _THUMBNAIL**2 + len(_QUANTILES) + 2


def describe(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(S, S) uint8 → (`LENGTH`,) float32, all values of the order of 1.

    The image is brought to 64 × 64 first: gradient histograms, 8 × 8 thumbnail, seven quantiles,
    mean and standard deviation.
    """
    shrinking = image.shape[0] > _SIDE
    small = cv2.resize(
        image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
    unit = small.astype(np.float32) / 255
    thumbnail = cv2.resize(unit, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).ravel()
    values = np.array([*np.quantile(unit, _QUANTILES), unit.mean(), unit.std()])
    return np.concatenate([oriented_gradients(unit), thumbnail, values]).astype(np.float32)


def oriented_gradients(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Histograms of oriented gradients (Dalal & Triggs 2005) of a square image.

    Nine unsigned orientations, a vote split between the two nearest; cells of 8 × 8 pixels; blocks
    of 2 × 2 cells with a stride of one cell, each divided by its Euclidean norm.
    """
    down, across = np.gradient(image)
    position = np.arctan2(down, across) % np.pi / np.pi * _ORIENTATIONS
    lower, share = np.floor(position).astype(int), position % 1
    votes = np.zeros((_ORIENTATIONS, *image.shape), np.float32)
    rows, columns = np.indices(image.shape)
    strength = np.hypot(down, across)
    votes[lower % _ORIENTATIONS, rows, columns] = strength * (1 - share)
    votes[(lower + 1) % _ORIENTATIONS, rows, columns] += strength * share
    n = len(image) // _CELL
    cells = votes.reshape(_ORIENTATIONS, n, _CELL, n, _CELL).sum((2, 4))
    blocks = sliding_window_view(cells, (2, 2), axis=(1, 2)).transpose(1, 2, 0, 3, 4)
    blocks = blocks.reshape((n - 1) ** 2, -1)
    out: NDArray[np.float32] = blocks / (np.linalg.norm(blocks, axis=1, keepdims=True) + 1e-3)
    return out.ravel()
