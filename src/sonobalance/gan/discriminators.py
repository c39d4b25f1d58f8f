"""The discriminators: one looks at the whole image, the other at its texture.

They are spectrally normalised (Miyato et al., ICLR 2018) and return logits; what these mean is told
by the role (see `objectives`). Those whose role has a branch also see frozen pretrained features,
where there are any (`features`).
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from sonobalance.config import GanSettings
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.networks import SLOPE, unit_rms
from sonobalance.gan.objectives import ROLES, Role

SMALLEST_INPUT = 32
SCORE_STD = 0.5
PLACES = 4  # patch logits are averaged down to at most this side
BRANCH_SIDE = 4  # of the last map of each level of the feature branch

HeadName = Literal["projection", "plain", "twin"]


class Head(nn.Module):
    """One logit per place: with the class by projection, or without it.

    Miyato & Koyama, "cGANs with Projection Discriminator", ICLR 2018, eq. 4.
    """

    class_weight: Tensor

    def __init__(self, width: int, classes: int, start: float, *, conditional: bool) -> None:
        super().__init__()
        self.score = nn.Conv2d(width, 1, 1, bias=False)
        self.embedding = nn.Embedding(classes, width) if conditional else None
        for layer in (self.score, self.embedding):
            if layer is not None:
                nn.init.normal_(layer.weight, std=SCORE_STD / math.sqrt(width))
        self.start = nn.Parameter(torch.tensor(start))
        self.register_buffer("class_weight", torch.ones(()))

    def forward(self, x: Tensor, targets: Tensor) -> Tensor:
        """(N, C, h, w) and (N,) int64 → (N, 1, h, w) float32."""
        x = x.float()
        logits: Tensor = self.score(x).float() + self.start
        if self.embedding is None:
            return logits
        by_class = self.class_weight * self.embedding(targets)[:, :, None, None]
        return logits + (x * by_class).sum(1, keepdim=True)


class TwinHead(nn.Module):
    """Logits of K real and K generated classes; the class fades in as its weight goes to 1."""

    class_weight: Tensor

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 2 * classes)
        self.register_buffer("class_weight", torch.ones(()))

    def forward(self, x: Tensor, _targets: Tensor) -> Tensor:
        """(N, C, h, w) → (N, 2K, 1, 1) float32: with weight 0, real against generated only."""
        halves = self.score(x.float().mean((2, 3))).float().unflatten(1, (2, -1))
        common = halves.mean(2, keepdim=True)
        faded: Tensor = common + self.class_weight * (halves - common)
        return faded.flatten(1)[:, :, None, None]


def _head(name: HeadName, width: int, classes: int, start: float) -> nn.Module:
    if name == "twin":
        return TwinHead(width, classes)
    return Head(width, classes, start, conditional=name == "projection")


class FeatureBranch(nn.Module):
    """Small heads on frozen features, each level mixed at random with the coarser ones.

    Sauer, Chitta, Müller & Geiger, "Projected GANs Converge Faster", NeurIPS 2021
    (arXiv:2111.01007), section 3.2: fixed random 1 x 1 convolutions across channels, and across
    scales by adding the coarser level, keep the heads from looking at a few channels only.
    """

    def __init__(
        self, shapes: list[tuple[int, int]], width: int, head: HeadName, classes: int, start: float
    ) -> None:
        super().__init__()
        self.mixers = nn.ModuleList(_mixer(channels, width) for channels, _ in shapes)
        self.columns = nn.ModuleList(_column(side, width) for _, side in shapes)
        self.heads = nn.ModuleList(_head(head, width, classes, start) for _ in shapes)

    def forward(self, maps: list[Tensor], targets: Tensor) -> list[Tensor]:
        """Feature maps (N, C, h, w), finest first → one (N, 1, 4, 4) of logits per level."""
        mixed: list[Tensor] = []
        for mixer, level in zip(reversed(self.mixers), reversed(maps), strict=True):
            x = mixer(unit_rms(level))
            if mixed:
                x = x + F.interpolate(mixed[0], size=x.shape[-2:], mode="bilinear")
            mixed.insert(0, x)
        rows = zip(self.heads, self.columns, mixed, strict=True)
        return [head(column(x), targets) for head, column, x in rows]


def _mixer(channels: int, width: int) -> nn.Conv2d:
    mixer = nn.Conv2d(channels, width, 1, bias=False)
    nn.init.normal_(mixer.weight, std=channels**-0.5)
    return mixer.requires_grad_(False)


class _Halving(nn.Module):
    """A spectrally normalised convolution that keeps or halves the side."""

    def __init__(self, width: int, *, keep: bool) -> None:
        super().__init__()
        kernel, stride = (3, 1) if keep else (4, 2)
        self.conv = spectral_norm(nn.Conv2d(width, width, kernel, stride, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) → (N, C, h, w) or (N, C, h / 2, w / 2)."""
        return F.leaky_relu(unit_rms(self.conv(x)), SLOPE)


def _column(side: int, width: int) -> nn.Sequential:
    """From a level of this side down to `BRANCH_SIDE`."""
    halvings = max(0, round(math.log2(side / BRANCH_SIDE)))
    steps = [_Halving(width, keep=False) for _ in range(halvings)]
    return nn.Sequential(*(steps or [_Halving(width, keep=True)]))


class Discriminator(nn.Module):
    """Strided convolutions, then a head on the last map; beside it, where asked for, the branch.

    Args:
        role: how it looks and what its logits mean.
        size: side S of the images.
        base: channels at the entry.
        channels: of the images: 1, or 2 with a mask.
        classes: number of classes.
        start: initial value of the logits.
        shapes: (channels, side) of each level of frozen features; empty for no branch.
    """

    def __init__(
        self, role: Role, *, size: int, base: int, channels: int, classes: int, start: float,
        shapes: list[tuple[int, int]],
    ) -> None:  # fmt: skip
        super().__init__()
        whole = role.view != "patches"
        self.shrink = max(1, min(2, size // SMALLEST_INPUT)) if role.view == "coarse" else 1
        widths = _widths(size // self.shrink, self.shrink, base) if whole else [
            base, 2 * base, 4 * base,
        ]  # fmt: skip
        self.entry = spectral_norm(nn.Conv2d(2 * channels, widths[0], 3, padding=1))
        self.blocks = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, stride=2, padding=1)) for a, b in pairwise(widths)
        )
        last = widths[-1]
        self.mix = spectral_norm(nn.Conv2d(last, last, *((4, 1, 0) if whole else (3, 1, 1))))
        self.head = _head(role.head, last, classes, start)
        self.branch = FeatureBranch(shapes, 4 * base, role.head, classes, start) if shapes else None

    def forward(self, images: Tensor, targets: Tensor, seen: list[Tensor] | None = None) -> Tensor:
        """Logits (N, P) float32.

        Args:
            images: (N, C, S, S) float32 in [-1, 1].
            targets: (N,) int64.
            seen: frozen features of the images, for a discriminator with the branch; the branch
                keeps silent without them.
        """
        images = F.avg_pool2d(images, self.shrink) if self.shrink > 1 else images
        x = F.leaky_relu(self.entry(_detail(images)), SLOPE)
        for block in self.blocks:
            x = F.leaky_relu(unit_rms(block(x)), SLOPE)
        x = F.leaky_relu(unit_rms(self.mix(x)), SLOPE)
        logits = self.head(x, targets)
        if logits.shape[-1] > PLACES:
            logits = F.adaptive_avg_pool2d(logits, PLACES)
        parts = [logits]
        if self.branch is not None and seen is not None:
            parts += self.branch(seen, targets)
        return torch.cat([part.flatten(1) for part in parts], 1)

    def learn(self, on: bool) -> None:
        """Collect gradients, or not; what is fixed stays so."""
        for parameter in self.learnable():
            parameter.requires_grad_(on)

    def learnable(self) -> list[nn.Parameter]:
        """What an optimiser may change: all but the random mixers of the branch."""
        named = self.named_parameters()
        return [p for name, p in named if not name.startswith("branch.mixers.")]

    def fade(self, weight: float) -> None:
        """How much the class counts: 0 at the start of the game, then 1."""
        for module in self.modules():
            if isinstance(module, Head | TwinHead):
                module.class_weight.fill_(weight)


def _widths(side: int, factor: int, base: int) -> list[int]:
    """Channels after the entry and after each halving down to a side of 4."""
    return [base * min(8, factor * 2**i) for i in range(int(math.log2(side)) - 1)]


def _detail(images: Tensor) -> Tensor:
    """(N, 2C, S, S): the image, and what it has beyond its blurred self, both of order one.

    Without the second part, texture is a small ripple on a large offset: discriminators then need
    many times the steps to tell a blurred image from a real one.
    """
    ripple = images - F.avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False)
    return torch.cat([2 * images + 0.8, 4 * ripple], 1)


def make_discriminators(
    settings: GanSettings, classes: int, eyes: FrozenFeatures | None = None
) -> dict[str, Discriminator]:
    """The discriminators of an objective, by name.

    Their logits start where they cannot tell real from generated. With `eyes`, the roles that may
    see pretrained features get the branch.
    """
    size, base = settings.image_size_px, settings.base_channels
    return {
        role.name: Discriminator(
            role, size=size, base=base, channels=settings.channels, classes=classes,
            start=role.start(settings),
            shapes=eyes.shapes if eyes is not None and role.branch else [],
        )
        for role in ROLES[settings.objective]
    }  # fmt: skip
