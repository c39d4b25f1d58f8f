"""The discriminators: one looks at the whole image, the other at its texture.

Both are conditional by projection (Miyato & Koyama, "cGANs with Projection Discriminator", ICLR
2018, eq. 4) and spectrally normalised (Miyato et al., ICLR 2018). They return logits; the d2gan
objective makes them positive by softplus (see `losses`).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sonobalance.config import GanSettings
from sonobalance.gan.networks import SLOPE, unit_rms

SMALLEST_INPUT = 32
SCORE_STD = 0.5


class Discriminator(nn.Module):
    """Strided convolutions, then one logit per place of the last map.

    Args:
        shrink: factor by which images are averaged down first: how coarse it looks.
        widths: channels after the entry and after each halving.
        side: of the last map, pixels; only a whole-image discriminator needs it.
        whole: True for one logit from a global head; False for a map of logits (patches).
        classes: number of classes.
        start: initial value of the logit's bias.
    """

    class_weight: Tensor

    def __init__(
        self, *, shrink: int, widths: list[int], side: int, whole: bool, classes: int, start: float
    ) -> None:
        super().__init__()
        self.shrink, self.whole = shrink, whole
        self.entry = spectral_norm(nn.Conv2d(2, widths[0], 3, padding=1))
        self.blocks = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in pairwise(widths)
        )
        last = widths[-1]
        kernel, padding = (side, 0) if whole else (3, 1)
        self.mix = spectral_norm(nn.Conv2d(last, last, kernel, padding=padding))
        self.score = nn.Conv2d(last, 1, 1, bias=False)
        self.embedding = nn.Embedding(classes, last)
        for weight in (self.score.weight, self.embedding.weight):
            nn.init.normal_(weight, std=SCORE_STD / math.sqrt(last))
        self.start = nn.Parameter(torch.tensor(start))
        self.register_buffer("class_weight", torch.ones(()))

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Logits (N, P) float32 of images (N, 1, S, S) in [-1, 1] for classes (N,) int64.

        P is 1 for a whole-image discriminator, else the number of places of the last map.
        """
        images = F.avg_pool2d(images, self.shrink) if self.shrink > 1 else images
        x = F.leaky_relu(self.entry(_detail(images)), SLOPE)
        for block in self.blocks:
            x = F.leaky_relu(unit_rms(block(x)), SLOPE)
        x = F.leaky_relu(unit_rms(self.mix(x)), SLOPE).float()
        by_class = self.class_weight * self.embedding(targets)[:, :, None, None]
        logits = self.score(x).float() + (x * by_class).sum(1, keepdim=True)
        return self.start + logits.flatten(1)


def _detail(images: Tensor) -> Tensor:
    """(N, 2, S, S): the image, and what it has beyond its blurred self, both of order one.

    Without the second channel, texture is a small ripple on a large offset: discriminators then
    need many times the steps to tell a blurred image from a real one.
    """
    ripple = images - F.avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
    return torch.cat([2 * images + 0.8, 4 * ripple], 1)


def make_discriminators(settings: GanSettings, classes: int) -> dict[str, Discriminator]:
    """The discriminators of an objective, by name.

    `d2gan` has D1 (whole image at half resolution: coverage, structure) and D2 (patches at full
    resolution: fidelity, texture); `single` has D (whole image at full resolution). Their logits
    start where the density ratio is 1 (D1 = α, D2 = β) or, for the hinge, at 0.
    """
    size, base = settings.image_size_px, settings.base_channels
    if settings.objective == "single":
        return {"D": _whole(size, 1, base, classes, 0.0)}
    shrink = max(1, min(2, size // SMALLEST_INPUT))
    return {
        "D1": _whole(size, shrink, base, classes, softplus_inverse(settings.alpha)),
        "D2": _patches(base, classes, softplus_inverse(settings.beta)),
    }


def softplus_inverse(value: float) -> float:
    """The logit whose softplus is `value` > 0."""
    return math.log(math.expm1(value))


def _whole(size: int, shrink: int, base: int, classes: int, start: float) -> Discriminator:
    halvings = int(math.log2(size // shrink)) - 2
    widths = [base * min(8, shrink * 2**i) for i in range(halvings + 1)]
    return Discriminator(
        shrink=shrink, widths=widths, side=4, whole=True, classes=classes, start=start
    )


def _patches(base: int, classes: int, start: float) -> Discriminator:
    return Discriminator(
        shrink=1, widths=[base, 2 * base, 4 * base], side=0, whole=False, classes=classes,
        start=start,
    )  # fmt: skip
