"""Burnt-in marks of the audit as regions of the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sonobalance.data.images import Mask
from sonobalance.files import read_rows


def read_marks(
    path: Path, ids: Sequence[str], shapes: Sequence[tuple[int, ...]]
) -> list[Mask | None]:
    """The boxes of `marks.csv` (id, x, y, width, height in native pixels) as masks.

    Args:
        path: the file; a missing one means no marks.
        ids: N image ids.
        shapes: N native sizes (H, W), pixels.

    Returns:
        N masks (H, W) bool, None for images without a mark.
    """
    masks: dict[str, Mask] = {}
    size = dict(zip(ids, shapes, strict=True))
    for row in read_rows(path) if path.is_file() else ():
        if row["id"] in size:
            mask = masks.setdefault(row["id"], np.zeros(size[row["id"]], np.bool_))
            x, y, width, height = (round(float(row[key])) for key in ("x", "y", "width", "height"))
            mask[max(0, y) : y + height, max(0, x) : x + width] = True
    return [masks.get(key) for key in ids]
