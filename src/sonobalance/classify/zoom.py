"""A second look at the middle of an image, and how its evidence is laid over the whole.

The lesion is mostly near the middle; enlarged, its margin and texture meet filters of another
scale. Logits of both looks are averaged (multi-crop testing: Krizhevsky et al. 2012, section 4.1).
"""

from __future__ import annotations

import torch
from torch.nn.functional import interpolate


def middle(images: torch.Tensor, zoom: float) -> torch.Tensor:
    """The middle of images, enlarged to their size.

    Args:
        images: (N, C, S, S) float32.
        zoom: S over the side of the middle, at least 1; the side is rounded to an even margin.

    Returns:
        (N, C, S, S) float32, bilinear.
    """
    side = images.shape[-1]
    m = _margin(side, zoom)
    cut = images[..., m : side - m, m : side - m]
    return interpolate(cut, size=(side, side), mode="bilinear", align_corners=False)


def laid_back(evidence: torch.Tensor, zoom: float, side: int) -> torch.Tensor:
    """Evidence found in the enlarged middle, at its place in the whole image.

    Args:
        evidence: (N, 1, H, W) of `middle`.
        zoom: as for `middle`.
        side: S of the images.

    Returns:
        (N, 1, H, W) of the same sum: each cell is shared out by area among those that it covers.
    """
    start = _margin(side, zoom) / side
    rows, columns = (_shared_out(n, n, start).to(evidence) for n in evidence.shape[-2:])
    return rows @ evidence @ columns.T


def on_grid(evidence: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """The same evidence on another grid: (N, 1, h, w) → (N, 1, H, W) of the same sum."""
    rows, columns = (
        _shared_out(cells, pieces).to(evidence)
        for cells, pieces in zip(size, evidence.shape[-2:], strict=True)
    )
    return rows @ evidence @ columns.T


def _margin(side: int, zoom: float) -> int:
    return round(side * (1 - 1 / zoom) / 2)


def _shared_out(cells: int, pieces: int, start: float = 0.0) -> torch.Tensor:
    """(cells, pieces): which share of each piece lies in each cell; columns sum to 1.

    The pieces lie side by side from `start` to 1 - `start` of the way along the cells.
    """
    width = cells * (1 - 2 * start) / pieces
    edges = torch.arange(cells + 1, dtype=torch.float64)
    cuts = start * cells + torch.arange(pieces + 1, dtype=torch.float64) * width
    top = torch.minimum(edges[1:, None], cuts[None, 1:])
    bottom = torch.maximum(edges[:-1, None], cuts[None, :-1])
    return (top - bottom).clamp(min=0) / width
