"""Lesion attention: a small decoder learns the lesion's outline, and features are pooled over it.

Masks are needed for the training images only; at prediction the network draws its own outline. The
class then depends on two averages of the same feature map, one over the whole image and one over
the outline, by one linear layer each, so that a logit is a sum over places that can be shown
(`evidence`). Multi-task learning of outline and class: Caruana, Machine Learning 1997; on breast
ultrasound Zhou et al., Medical Image Analysis 2021 (doi:10.1016/j.media.2020.101918).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, interpolate

EMPTY = 0.02  # share of the image that an outline must fill to count fully
START = -2.0  # logit of the outline before anything is learnt


class LesionHead(nn.Module):
    """Outline decoder and lesion pooling on top of a backbone's feature maps.

    The classifying layer starts at zero: a fresh head changes no logit of the network.

    Args:
        channels: of each feature map that the decoder reads, finest first.
        features: channels F of the last feature map.
        classes: number of classes K.
        dropout: chance of dropping a pooled feature in training.
        width: channels of the decoder, a multiple of 4.
    """

    def __init__(
        self,
        channels: Sequence[int],
        features: int,
        classes: int,
        dropout: float = 0.0,
        width: int = 32,
    ) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.norm = nn.GroupNorm(4, width)
        self.smooth = nn.Conv2d(width, width, 3, padding=1)
        self.smooth_norm = nn.GroupNorm(4, width)
        self.draw = nn.Conv2d(width, 1, 1)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(features, classes, bias=False)
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
        hidden = self.smooth_norm(self.smooth(hidden)).relu()
        drawn: torch.Tensor = self.draw(hidden)
        return drawn.float()

    def forward(self, features: torch.Tensor, outline: torch.Tensor) -> torch.Tensor:
        """Logits of the lesion's share: (N, F, h, w) features, (N, 1, H, W) outline → (N, K)."""
        logits: torch.Tensor = self.classify(self.dropout(pooled(features, outline)))
        return logits


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


def evidence(
    features: torch.Tensor, outline: torch.Tensor, whole: torch.Tensor, lesion: torch.Tensor
) -> torch.Tensor:
    """What each place adds to the logit of one class: the map's sum is the logit less its bias.

    An exact class activation map (Zhou et al., CVPR 2016, eq. 2) of both averages, on the outline's
    grid. The sum is exact where the grid is a multiple of the feature map's.

    Args:
        features: (N, F, h, w) last feature map.
        outline: (N, 1, H, W) logits.
        whole: (N, F) weights of each image's class on the mean over the image.
        lesion: (N, F) its weights on the mean over the lesion.

    Returns:
        (N, 1, H, W) float32.
    """
    size, features = outline.shape[-2:], features.float()
    everywhere = _resized(torch.einsum("nchw,nc->nhw", features, whole)[:, None], size)
    inside = _resized(torch.einsum("nchw,nc->nhw", features, lesion)[:, None], size)
    return everywhere / (size[0] * size[1]) + inside * attention(outline)


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
