"""Generator (also the decoder of the warm-up) and encoder: small, without batch statistics.

No layer mixes the images of a batch, so that each image depends on its own inputs only. Upsampling
is bilinear followed by a convolution: no transposed convolution, hence no checkerboard.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2  # of every leaky ReLU
WIDEST = 8  # the coarsest levels have at most this many times the channels of the finest


def channels_at(side: int, size: int, base: int) -> int:
    """Channels at resolution `side` of a network for `size` pixels: doubled per halving, capped."""
    return base * min(WIDEST, size // side)


class _UnitRms(torch.autograd.Function):
    """x·s with s = 1/√(mean x² + ε); dL/dx = s·g − x·s³·mean(g·x): a third of autograd's passes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int) -> Tensor:
        scale = _inverse_rms(x, dim)
        ctx.save_for_backward(x, scale)
        ctx.dim = dim
        return x * scale

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, scale = ctx.saved_tensors
        (gradient,) = gradients
        if torch.is_grad_enabled():  # a second derivative is wanted: R1
            scale = _inverse_rms(x, ctx.dim)
        share = _mean(gradient * x, ctx.dim) * scale**3
        return torch.addcmul(gradient * scale, x, share, value=-1), None


def _inverse_rms(x: Tensor, dim: int) -> Tensor:
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True)
    return torch.rsqrt(norm.square() / x.shape[dim] + 1e-8)


def _mean(x: Tensor, dim: int) -> Tensor:
    """Mean over `dim`, kept; on the CPU a convolution sums channels in bfloat16 without a copy."""
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or x.dim() != 4 or dim != 1:
        return x.mean(dim, keepdim=True)
    return F.conv2d(x, x.new_full((1, x.shape[1], 1, 1), 1 / x.shape[1]))


def unit_rms(x: Tensor, dim: int = 1) -> Tensor:
    """Scale to a root mean square of 1 over `dim`; twice differentiable."""
    scaled: Tensor = _UnitRms.apply(x, dim)
    return scaled


class SkipExcitation(nn.Module):
    """Channels of a fine map gated by a coarse one (Liu et al., FastGAN, ICLR 2021, eq. 1)."""

    def __init__(self, coarse: int, fine: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(coarse, fine, 4)
        self.gate = nn.Conv2d(fine, fine, 1)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """(N, C', r, r) and (N, C, R, R) → (N, C, R, R)."""
        pooled = F.adaptive_avg_pool2d(coarse, 4)
        return fine * torch.sigmoid(self.gate(F.silu(self.squeeze(pooled)))).to(fine.dtype)


class UpBlock(nn.Module):
    """Narrow, double the side, convolve, add noise, normalise, modulate by the style."""

    def __init__(self, inputs: int, outputs: int, style: int) -> None:
        super().__init__()
        self.narrow = nn.Conv2d(inputs, outputs, 1)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.noise_scale = nn.Parameter(torch.full((outputs, 1, 1), 0.05))
        self.modulation = nn.Linear(style, 2 * outputs)

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """(N, C, r, r), (N, style), (N, 1, 2r, 2r) → (N, C', 2r, 2r)."""
        x = F.interpolate(self.narrow(x), scale_factor=2, mode="bilinear", align_corners=False)
        x = self.conv(x)
        x = unit_rms(x + (self.noise_scale * noise).to(x.dtype))
        scale, shift = self.modulation(style).to(x.dtype)[:, :, None, None].chunk(2, 1)
        return F.leaky_relu(torch.addcmul(shift, x, 1 + scale), SLOPE)


class Generator(nn.Module):
    """Latent, class and noise to an image.

    Args:
        size: side S of the images, a power of two ≥ 32.
        base: channels at the finest resolution.
        latent_dim: length of the latent.
        classes: number of classes.
        channels: of the images: 1, or 2 with a mask.
    """

    def __init__(
        self, size: int, base: int, latent_dim: int, classes: int, channels: int = 1
    ) -> None:
        super().__init__()
        self.channels = channels
        self.sides = [2**k for k in range(3, int(math.log2(size)) + 1)]
        widths = [channels_at(side, size, base) for side in (4, *self.sides)]
        self.class_style = nn.Embedding(classes, latent_dim)
        nn.init.normal_(self.class_style.weight, std=0.3)
        self.start = nn.Linear(latent_dim, widths[0] * 16)
        pairs = pairwise(widths)
        self.blocks = nn.ModuleList(UpBlock(a, b, latent_dim) for a, b in pairs)
        self.to_gray = nn.ModuleList(nn.Conv2d(w, channels, 3, padding=1) for w in widths[2:])
        skips = zip(widths, widths[3:], strict=False)
        self.skips = nn.ModuleList(SkipExcitation(a, b) for a, b in skips)
        self.noise_dim = sum(side * side for side in self.sides)

    def forward(self, latents: Tensor, targets: Tensor, noise: Tensor) -> Tensor:
        """Generate.

        Args:
            latents: (N, latent_dim) float32 of unit RMS.
            targets: (N,) int64 class indices.
            noise: (N, noise_dim) float32, standard normal: one map per resolution.

        Returns:
            (N, C, S, S) float32 in [-1, 1].
        """
        style = latents + self.class_style(targets)
        x = F.leaky_relu(self.start(style).view(len(latents), -1, 4, 4), SLOPE)
        x = x.contiguous(memory_format=torch.channels_last)
        maps = noise.split([side * side for side in self.sides], 1)
        levels, image = [x], x.new_zeros(len(x), self.channels, 8, 8)
        for i, (block, flat, side) in enumerate(zip(self.blocks, maps, self.sides, strict=True)):
            x = block(x, style, flat.view(-1, 1, side, side))
            if i >= 2:
                x = self.skips[i - 2](levels[i - 2], x)
            levels.append(x)
            if i >= 1:
                image = F.interpolate(image, size=side, mode="bilinear") + self.to_gray[i - 1](x)
        return torch.tanh(image.float())


class Encoder(nn.Module):
    """Image to latent, for the warm-up, the latent bank and the monitor's features."""

    def __init__(self, size: int, base: int, latent_dim: int, channels: int = 1) -> None:
        super().__init__()
        sides = [2**k for k in range(int(math.log2(size)), 2, -1)]
        widths = [channels_at(side, size, base) for side in (*sides, 4)]
        self.entry = nn.Conv2d(channels, widths[0], 3, padding=1)
        pairs = pairwise(widths)
        self.blocks = nn.ModuleList(nn.Conv2d(a, b, 4, stride=2, padding=1) for a, b in pairs)
        self.head = nn.Linear(widths[-1] * 16, latent_dim)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps (N, C, r, r), finest first, of images (N, C, S, S) in [-1, 1]."""
        x = F.leaky_relu(self.entry(images), SLOPE)
        found = [x]
        for block in self.blocks:
            x = unit_rms(F.leaky_relu(block(x), SLOPE))
            found.append(x)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, S, S) float32 in [-1, 1] → latents (N, latent_dim) float32 of unit RMS."""
        return unit_rms(self.head(self.maps(images)[-1].flatten(1)).float())
