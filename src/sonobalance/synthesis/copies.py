"""Altered copies of images: what the novelty gate must catch, made to measure that it does."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur, hflip

from sonobalance.randomness import torch_generator

SHIFT_PX = 4  # at the images' own side
CROP = 0.9
TONE = 0.15
BLUR_PX = 1.0
NOISE = 10.0  # standard deviation, grey levels


def altered_copies(pixels: Tensor, seed: int) -> dict[str, Tensor]:
    """Copies of every image, altered in each of the ways a generator may hide one.

    Args:
        pixels: (N, 1, S, S) uint8.
        seed: of shifts, crops, signs and noise.

    Returns:
        Kind of alteration → (N, 1, S, S) uint8: exact, mirrored, shifted by up to 4 px, cropped to
        90 % and enlarged, gain ±15 %, contrast ±15 %, blurred, noisy.
    """
    generator = torch_generator(seed, "altered copies")
    images = pixels.float()
    n, side = len(images), images.shape[-1]
    signs = torch.randint(2, (n, 1, 1, 1), generator=generator) * 2 - 1
    shifts = torch.randint(-SHIFT_PX, SHIFT_PX + 1, (n, 2), generator=generator) * 2 / side
    corners = (torch.rand(n, 2, generator=generator) * 2 - 1) * (1 - CROP)
    noise = torch.randn(images.shape, generator=generator) * NOISE
    middle = images.mean((1, 2, 3), keepdim=True)
    copies = {
        "exact": images,
        "mirrored": hflip(images),
        "shifted": _moved(images, 1.0, shifts),
        "cropped": _moved(images, CROP, corners),
        "gain": images * (1 + TONE * signs),
        "contrast": (images - middle) * (1 + TONE * signs) + middle,
        "blurred": gaussian_blur(images, [7, 7], [BLUR_PX, BLUR_PX]),
        "noisy": images + noise,
    }
    return {kind: x.round().clamp(0, 255).to(torch.uint8) for kind, x in copies.items()}


def _moved(images: Tensor, scale: float, offsets: Tensor) -> Tensor:
    """The part of each image of relative size `scale` around `offsets` (N, 2) in half sides."""
    matrix = torch.eye(2, 3).repeat(len(images), 1, 1) * scale
    matrix[:, :, 2] = offsets
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)
