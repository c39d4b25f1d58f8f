"""Lesion attention: a small decoder learns the lesion's outline, and features are pooled over it.

Masks are needed for the training images only; at prediction the network draws its own outline. The
class then depends on averages over the whole image and over the outline, of feature maps of several
depths and of their squares (texture lives in the shallow ones), by one linear layer, so that a
logit is a sum over places that can be shown (`evidence`). Multi-task learning of outline and class:
Caruana, Machine Learning 1997; on breast ultrasound Zhou et al., Medical Image Analysis 2021
(doi:10.1016/j.media.2020.101918).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

EMPTY = 0.02  # share of the image that an outline must fill to count fully
WIDTH = 48  # channels of the decoder, a multiple of its norms' 4 groups
START = -2.0  # logit of the outline before anything is learnt


class LesionHead(nn.Module):
    """Outline decoder and lesion pooling on top of a backbone's feature maps.

    The classifying layer starts at zero: a fresh head changes no logit of the network.

    Args:
        channels: of each feature map that the decoder reads, finest first.
        features: channels F of the last feature map.
        classes: number of classes K.
        dropout: chance of dropping a pooled feature in training.
    """

    def __init__(
        self, channels: Sequence[int], features: int, classes: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.channels = (*channels, features)
        self.lateral = nn.ModuleList(nn.Conv2d(c, WIDTH, 1) for c in channels)
        self.norm = nn.GroupNorm(4, WIDTH)
        self.first = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.first_norm = nn.GroupNorm(4, WIDTH)
        self.second = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.second_norm = nn.GroupNorm(4, WIDTH)
        self.draw = nn.Conv2d(WIDTH, 1, 1)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(4 * sum(channels) + features, classes, bias=False)
        nn.init.zeros_(self.draw.weight)
        nn.init.constant_(self.draw.bias, START) if self.draw.bias is not None else None
        nn.init.zeros_(self.classify.weight)

    def outline(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Feature maps (N, C_i, h_i, w_i), finest first → (N, 1, h_0, w_0) logits of the lesion."""
        size = levels[0].shape[-2:]
        total = torch.zeros((), device=levels[0].device)
        for lateral, level in zip(self.lateral, levels, strict=True):
            total = total + _resized(lateral(level), size)
        hidden = self.norm(total).relu()
        hidden = self.first_norm(self.first(hidden)).relu()
        hidden = hidden + self.second_norm(self.second(hidden)).relu()
        drawn: torch.Tensor = self.draw(hidden)
        return drawn.float()

    def averages(
        self, levels: Sequence[torch.Tensor], last: torch.Tensor, outline: torch.Tensor
    ) -> torch.Tensor:
        """What the classifying layer reads, (N, 4 · ΣC_i + F).

        Of each level the mean over the image, the mean over the lesion, and both of the squares; of
        the last feature map (N, F, h, w) the mean over the lesion.
        """
        parts = []
        for level in levels:
            for maps in (level.float(), level.float().square()):
                parts += [maps.mean((2, 3)), pooled(maps, outline)]
        return torch.cat([*parts, pooled(last, outline)], 1)

    def forward(
        self, levels: Sequence[torch.Tensor], last: torch.Tensor, outline: torch.Tensor
    ) -> torch.Tensor:
        """What this head adds to the logits, (N, K); arguments as of `averages`."""
        logits: torch.Tensor = self.classify(self.dropout(self.averages(levels, last, outline)))
        return logits

    def evidence(
        self,
        levels: Sequence[torch.Tensor],
        last: torch.Tensor,
        outline: torch.Tensor,
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """What each place adds to this head's logit of a class; the map's sum is that logit.

        Args:
            levels: as of `averages`.
            last: as of `averages`.
            outline: as of `averages`.
            targets: (N,) int64 classes.

        Returns:
            (N, 1, H, W) float32 on the outline's grid.
        """
        size = outline.shape[-2:]
        widths = [c for c in self.channels[:-1] for _ in range(4)] + [self.channels[-1]]
        weights = self.classify.weight[targets].split(widths, dim=1)
        total = torch.zeros_like(outline)
        for i, level in enumerate(levels):
            for j, maps in enumerate((level.float(), level.float().square())):
                whole, inside = weights[4 * i + 2 * j], weights[4 * i + 2 * j + 1]
                total = total + spread(maps, whole, size)
                total = total + _resized(weighted(maps, inside), size) * attention(outline)
        return total + _resized(weighted(last, weights[-1]), size) * attention(outline)


def pooled(features: torch.Tensor, outline: torch.Tensor) -> torch.Tensor:
    """The mean of the features over the outline, towards 0 where there is hardly any lesion.

    With a = sigmoid(outline) on its own fine grid and f the features brought there bilinearly:
    Σ_p a_p f_p / (Σ_p a_p + `EMPTY` · HW). The features are never enlarged: the adjoint of the
    enlargement is applied to a instead.

    Args:
        features: (N, F, h, w).
        outline: (N, 1, H, W) logits.

    Returns:
        (N, F) float32.
    """
    share = attention(outline)
    height, width = (
        _enlargement(few, many).to(share)
        for few, many in zip(features.shape[-2:], outline.shape[-2:], strict=True)
    )
    gathered = height.T @ share[:, 0] @ width
    return (features.float() * gathered[:, None]).sum((2, 3))


def attention(outline: torch.Tensor) -> torch.Tensor:
    """(N, 1, H, W) logits → weight of each place in the lesion's mean; sums to less than 1."""
    inside = outline.float().sigmoid()
    least = EMPTY * inside.shape[-2] * inside.shape[-1]
    return inside / (inside.sum((2, 3), keepdim=True) + least)


def spread(features: torch.Tensor, weights: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """Class activation map of a mean over the image (Zhou et al., CVPR 2016, equation 2).

    Args:
        features: (N, F, h, w).
        weights: (N, F) of each image's class.
        size: (H, W) to bring the map to.

    Returns:
        (N, 1, H, W) whose sum is weights · mean(features).
    """
    rows, columns = (
        _enlargement(few, many).to(weights)
        for few, many in zip(features.shape[-2:], size, strict=True)
    )
    rows, columns = rows / rows.sum(0), columns / columns.sum(0)  # each place is shared out whole
    cells = features.shape[-2] * features.shape[-1]
    return rows @ weighted(features, weights) @ columns.T / cells


def weighted(features: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Σ_c w_c f_c at each place: (N, F, h, w), (N, F) → (N, 1, h, w)."""
    return (features.float() * weights[..., None, None]).sum(1, keepdim=True)


def outline_loss(outline: torch.Tensor, masks: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Cross-entropy plus Dice loss of outlines, averaged over the images whose lesion is known.

    The Dice term (Milletari et al., 3DV 2016) has 1 added above and below, so that an empty outline
    of an empty mask costs nothing.

    Args:
        outline: (N, 1, H, W) logits.
        masks: (N, 1, S, S) float32 in [0, 1]; averaged down to the outline's grid.
        known: (N,) bool.

    Returns:
        Scalar; 0 when no lesion is known.
    """
    height, width = outline.shape[-2:]
    target = nn.functional.adaptive_avg_pool2d(masks, (height, width))
    inside = outline.sigmoid()
    entropy = binary_cross_entropy_with_logits(outline, target, reduction="none").mean((1, 2, 3))
    shared = (inside * target).sum((1, 2, 3))
    dice = 1 - (2 * shared + 1) / (inside.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)
    losses = (2 * entropy + dice) * known
    return losses.sum() / known.sum().clamp(min=1)


def _resized(maps: torch.Tensor, size: torch.Size) -> torch.Tensor:
    if maps.shape[-2:] == size:
        return maps
    return interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def _enlargement(few: int, many: int) -> torch.Tensor:
    """(many, few) weights of bilinear enlargement along one axis."""
    eye = torch.eye(few)[None]
    return interpolate(eye, size=many, mode="linear", align_corners=False)[0].T
