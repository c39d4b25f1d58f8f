"""Pictures of the training's state: a row per class, real images beside generated ones."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GAP_PX = 2
GAP_GRAY = 64


def contact_sheet(
    real: Tensor, real_targets: Tensor, fake: Tensor, fake_targets: Tensor, columns: int = 8
) -> NDArray[np.uint8]:
    """One row per class: up to `columns` real images, a wide gap, as many generated ones.

    Images are (N, 1, S, S) uint8, targets (N,) int64; returns (H, W) uint8.
    """
    rows = [
        _join(
            [_strip(real[real_targets == k], columns), _strip(fake[fake_targets == k], columns)],
            gap=4 * GAP_PX, axis=1,
        )
        for k in real_targets.unique().tolist()
    ]  # fmt: skip
    return _join(rows, gap=GAP_PX, axis=0)


def _strip(images: Tensor, columns: int) -> NDArray[np.uint8]:
    side = images.shape[-1]
    blank = torch.zeros(max(0, columns - len(images)), 1, side, side, dtype=torch.uint8)
    shown = torch.cat([images[:columns], blank])[:, 0].numpy()
    return _join(list(shown), gap=GAP_PX, axis=1)


def _join(parts: list[NDArray[np.uint8]], gap: int, axis: int) -> NDArray[np.uint8]:
    shape = list(parts[0].shape)
    shape[axis] = gap
    bar = np.full(shape, GAP_GRAY, np.uint8)
    spaced = [piece for part in parts for piece in (part, bar)][:-1]
    return np.concatenate(spaced, axis)
