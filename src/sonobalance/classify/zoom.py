"""A second look at a part of each image, and how its evidence is laid over the whole.

The lesion is mostly near the middle, and a network with lesion attention outlines it; enlarged, its
margin and texture meet filters of another scale. Logits of both looks are averaged (multi-crop
testing: Krizhevsky et al. 2012, section 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

FAINT = 0.002  # share of the image that a lesion must fill to draw the look half-way to it


def middles(images: torch.Tensor) -> torch.Tensor:
    """(N, C, S, S) images → (N, 2) their middles, as shares of height and width."""
    return torch.full((images.shape[0], 2), 0.5, device=images.device)


def lesion_centres(outline: torch.Tensor) -> torch.Tensor:
    """Centres of mass of outlines; where there is hardly any lesion, the middle.

    With w = max(0, 2 · sigmoid(outline) - 1), which is what is more lesion than not, at places p:
    (Σ w p + `FAINT` · HW / 2) / (Σ w + `FAINT` · HW).

    Args:
        outline: (N, 1, H, W) logits.

    Returns:
        (N, 2) float32 in [0, 1], as shares of height and width.
    """
    inside = (2 * outline.detach()[:, 0].float().sigmoid() - 1).clamp(min=0)
    rest = FAINT * inside.shape[1] * inside.shape[2]
    down, across = ((torch.arange(n, device=inside.device) + 0.5) / n for n in inside.shape[1:])
    sums = torch.stack([(inside.sum(2) * down).sum(1), (inside.sum(1) * across).sum(1)], 1)
    return (sums + rest / 2) / (inside.sum((1, 2)) + rest)[:, None]


@dataclass(frozen=True)
class Part:
    """The part of each of N images that is looked at enlarged.

    Attributes:
        corner: (N, 2) float32, its upper left corner in pixels; it need not be a whole pixel, so
            that a little more or less of a centre changes the look as little.
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
        return cls((centres * side - side / 2 + margin).clamp(0, 2 * margin), margin, side)

    def enlarged(self, images: torch.Tensor) -> torch.Tensor:
        """The parts of (N, C, S, S) float32 images, enlarged to their size; bilinear."""
        rows, columns = (self._weights(self.corner[:, i]) for i in (0, 1))
        return rows[:, None] @ images @ columns.mT[:, None]

    def _weights(self, starts: torch.Tensor) -> torch.Tensor:
        """(N, S, S): how much of each pixel of an axis is in each enlarged one; rows sum to 1."""
        pixels = torch.arange(self.side, device=starts.device)
        size = self.side - 2 * self.margin
        within = ((pixels + 0.5) * size / self.side - 0.5).clamp(0, size - 1)
        places = starts[:, None, None] + within[None, :, None]
        return (1 - (places - pixels).abs()).clamp(min=0)

    def laid_back(self, evidence: torch.Tensor) -> torch.Tensor:
        """Evidence (N, 1, H, W) found in the enlarged parts, at its place in the whole images.

        The sum stays: each cell is shared out by area among those that it covers.
        """
        width = 1 - 2 * self.margin / self.side
        rows, columns = (
            _shared_out(n, n, self.corner[:, i].cpu().double() / self.side, width).to(evidence)
            for i, n in enumerate(evidence.shape[-2:])
        )
        return rows[:, None] @ evidence @ columns.mT[:, None]


def on_grid(evidence: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """The same evidence on another grid: (N, 1, h, w) → (N, 1, H, W) of the same sum."""
    rows, columns = (
        _shared_out(cells, pieces, torch.zeros(1, dtype=torch.float64)).to(evidence)
        for cells, pieces in zip(size, evidence.shape[-2:], strict=True)
    )
    return rows @ evidence @ columns.mT


def _shared_out(cells: int, pieces: int, starts: torch.Tensor, width: float = 1.0) -> torch.Tensor:
    """(N, cells, pieces): which share of each piece lies in each cell; columns sum to 1.

    The pieces lie side by side from `starts` (N,) of the way along the cells, over `width` of it.
    """
    piece = width * cells / pieces
    edges = torch.arange(cells + 1, dtype=torch.float64)[:, None]
    cuts = torch.arange(pieces + 1, dtype=torch.float64) * piece + starts[:, None, None] * cells
    top = torch.minimum(edges[1:], cuts[..., 1:])
    bottom = torch.maximum(edges[:-1], cuts[..., :-1])
    return (top - bottom).clamp(min=0) / piece
