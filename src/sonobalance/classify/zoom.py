"""A second look at a part of each image, and how its evidence is laid over the whole.

The lesion is mostly near the middle, and a network with lesion attention outlines it; enlarged, its
margin and texture meet filters of another scale. Logits of both looks are averaged (multi-crop
testing: Krizhevsky et al. 2012, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import interpolate

from sonobalance.classify.lesion import attention


def middles(images: torch.Tensor) -> torch.Tensor:
    """(N, C, S, S) images → (N, 2) their middles, as shares of height and width."""
    return torch.full((images.shape[0], 2), 0.5, device=images.device)


def lesion_centres(outline: torch.Tensor) -> torch.Tensor:
    """Centres of mass of outlines; the less lesion there is, the nearer to the middle.

    Args:
        outline: (N, 1, H, W) logits.

    Returns:
        (N, 2) float32 in [0, 1], as shares of height and width.
    """
    share = attention(outline.detach())[:, 0]
    rest = 1 - share.sum((1, 2))
    places = [(torch.arange(n, device=share.device) + 0.5) / n for n in share.shape[-2:]]
    down, across = (share.sum(2) * places[0]).sum(1), (share.sum(1) * places[1]).sum(1)
    return torch.stack([down, across], 1) + rest[:, None] / 2


@dataclass(frozen=True)
class Part:
    """The part of each of N images that is looked at enlarged.

    Attributes:
        corner: (N, 2) int64, its upper left corner in pixels.
        margin: twice this is cut off the image's side S.
        side: S.
    """

    corner: torch.Tensor
    margin: int
    side: int

    @classmethod
    def around(cls, centres: torch.Tensor, zoom: float, side: int) -> Part:
        """The part around these centres, moved inwards where it would leave the image.

        Args:
            centres: (N, 2), as shares of height and width.
            zoom: S over the side of a part, at least 1; the side is rounded to an even margin.
            side: S.
        """
        margin = round(side * (1 - 1 / zoom) / 2)
        corner = (centres * side - side / 2 + margin).round().long().clamp(0, 2 * margin)
        return cls(corner, margin, side)

    def enlarged(self, images: torch.Tensor) -> torch.Tensor:
        """The parts of (N, C, S, S) float32 images, enlarged to their size; bilinear."""
        within = torch.arange(self.side - 2 * self.margin, device=images.device)
        rows, columns = (self.corner[:, i, None] + within for i in (0, 1))
        each = torch.arange(images.shape[0], device=images.device)[:, None, None]
        cut = images.movedim(1, -1)[each, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
        size = (self.side, self.side)
        return interpolate(cut, size=size, mode="bilinear", align_corners=False)

    def laid_back(self, evidence: torch.Tensor) -> torch.Tensor:
        """Evidence (N, 1, H, W) found in the enlarged parts, at its place in the whole images.

        The sum stays: each cell is shared out by area among those that it covers.
        """
        width = 1 - 2 * self.margin / self.side
        rows, columns = (
            _shared_out(n, n, self.corner[:, i].cpu() / self.side, width).to(evidence)
            for i, n in enumerate(evidence.shape[-2:])
        )
        return rows[:, None] @ evidence @ columns.mT[:, None]


def on_grid(evidence: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """The same evidence on another grid: (N, 1, h, w) → (N, 1, H, W) of the same sum."""
    rows, columns = (
        _shared_out(cells, pieces, torch.zeros(1)).to(evidence)
        for cells, pieces in zip(size, evidence.shape[-2:], strict=True)
    )
    return rows @ evidence @ columns.mT


def _shared_out(cells: int, pieces: int, starts: torch.Tensor, width: float = 1.0) -> torch.Tensor:
    """(N, cells, pieces): which share of each piece lies in each cell; columns sum to 1.

    The pieces lie side by side from `starts` (N,) of the way along the cells, over `width` of it.
    """
    piece = width * cells / pieces
    edges = torch.arange(cells + 1, dtype=torch.float64)[:, None]
    cuts = starts.double()[:, None, None] * cells + torch.arange(pieces + 1) * piece
    top = torch.minimum(edges[1:], cuts[..., 1:])
    bottom = torch.maximum(edges[:-1], cuts[..., :-1])
    return (top - bottom).clamp(min=0) / piece
