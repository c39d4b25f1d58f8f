"""Training augmentation that an ultrasound image could have been born with.

Geometry: left-right mirror (the probe turned round), small rotation, zoom, aspect and shift. Grey
values: gain, time-gain compensation (a ramp over depth), dynamic range (gamma), multiplicative
speckle-like noise, an erased rectangle. Never a vertical flip: the skin is always on top, and
enhancement or shadow below a lesion is a diagnostic sign.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

from sonobalance.config import Augmentation


@dataclass(frozen=True)
class Strength:
    """Half-widths of the uniform ranges that parameters are drawn from.

    Attributes:
        mirror: chance of a left-right mirror.
        rotation_deg: largest rotation, degrees.
        zoom: natural logarithm of the largest zoom in or out.
        aspect: natural logarithm of the largest change of width over height.
        shift: largest shift, as a share of the side.
        gain: largest relative change of brightness.
        tgc: largest relative change of gain between the top and the bottom.
        gamma: natural logarithm of the largest exponent on grey values.
        speckle: largest standard deviation of the multiplicative noise.
        erase: chance of erasing one rectangle.
    """

    mirror: float = 0.0
    rotation_deg: float = 0.0
    zoom: float = 0.0
    aspect: float = 0.0
    shift: float = 0.0
    gain: float = 0.0
    tgc: float = 0.0
    gamma: float = 0.0
    speckle: float = 0.0
    erase: float = 0.0


STRENGTHS: dict[Augmentation, Strength] = {
    "none": Strength(),
    "light": Strength(
        mirror=0.5, rotation_deg=5, zoom=0.1, aspect=0.05, shift=0.05, gain=0.1, tgc=0.1, gamma=0.1,
    ),
    "medium": Strength(
        mirror=0.5, rotation_deg=8, zoom=0.2, aspect=0.1, shift=0.08, gain=0.2, tgc=0.2, gamma=0.25,
        speckle=0.1,
    ),
    "strong": Strength(
        mirror=0.5, rotation_deg=12, zoom=0.25, aspect=0.12, shift=0.1, gain=0.25, tgc=0.3,
        gamma=0.3, speckle=0.15, erase=0.3,
    ),
}  # fmt: skip


def augment(
    images: torch.Tensor, strength: Augmentation, generator: torch.Generator
) -> torch.Tensor:
    """Change every image of a batch by its own random parameters.

    Args:
        images: (N, 1, S, S) float32 in [-1, 1].
        strength: which ranges parameters are drawn from; `none` gives the images back unchanged.
        generator: CPU generator; the same state gives the same result on the same device.

    Returns:
        (N, 1, S, S) float32 in [-1, 1].
    """
    return augment_both(images, images[:, :0], strength, generator)[0]


def augment_both(
    images: torch.Tensor, masks: torch.Tensor, strength: Augmentation, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """`augment`, and the same geometry for masks (N, 1, S, S) float32 in [0, 1]."""
    chosen = STRENGTHS[strength]
    if chosen == Strength():
        return images, masks
    moved = _move(torch.cat([(images + 1) / 2, masks], 1), chosen, generator)
    intensity, masks = moved[:, :1], moved[:, 1:]
    intensity = _regain(intensity, chosen, generator)
    intensity = _speckle(intensity, chosen.speckle, generator)
    intensity = _erase(intensity, chosen.erase, generator)
    return intensity.clamp(0, 1) * 2 - 1, masks


def uniform(n: int, width: float, generator: torch.Generator) -> torch.Tensor:
    """(n,) float32, uniform in [-width, width], drawn on the CPU."""
    return (torch.rand(n, generator=generator) * 2 - 1) * width


def _move(images: torch.Tensor, strength: Strength, generator: torch.Generator) -> torch.Tensor:
    """Mirror, rotate, zoom, stretch and shift by one bilinear sampling; black from outside."""
    n = len(images)
    mirror = 1 - 2 * (torch.rand(n, generator=generator) < strength.mirror).float()
    angle = torch.deg2rad(uniform(n, strength.rotation_deg, generator))
    zoom = uniform(n, strength.zoom, generator)
    aspect = uniform(n, strength.aspect, generator) / 2
    shift_x, shift_y = (uniform(n, 2 * strength.shift, generator) for _ in range(2))
    wide, tall = torch.exp(zoom + aspect), torch.exp(zoom - aspect)
    top = torch.stack([mirror * torch.cos(angle) * wide, -torch.sin(angle) * tall, shift_x], 1)
    low = torch.stack([mirror * torch.sin(angle) * wide, torch.cos(angle) * tall, shift_y], 1)
    matrix = torch.stack([top, low], 1).to(images.device)
    grid = affine_grid(matrix, list(images.shape), align_corners=False)
    return grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _regain(images: torch.Tensor, strength: Strength, generator: torch.Generator) -> torch.Tensor:
    """Exponent on grey values, then gain with a linear ramp over depth."""
    n, _, side, _ = images.shape
    exponent = torch.exp(uniform(n, strength.gamma, generator)).to(images.device)
    gain = 1 + uniform(n, strength.gain, generator)
    ramp = uniform(n, strength.tgc, generator)[:, None] * torch.linspace(-0.5, 0.5, side)
    factor = (gain[:, None] + ramp).to(images.device)
    return images.clamp(min=0).pow(exponent[:, None, None, None]) * factor[:, None, :, None]


def _speckle(images: torch.Tensor, width: float, generator: torch.Generator) -> torch.Tensor:
    """Multiply by 1 + noise whose grain is about two pixels wide, as speckle is correlated."""
    if not width:
        return images
    n, _, side, _ = images.shape
    level = torch.rand(n, 1, 1, 1, generator=generator) * width
    coarse = torch.randn(n, 1, (side + 1) // 2, (side + 1) // 2, generator=generator)
    noise = interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    return images * (1 + level * noise).to(images.device)


def _erase(images: torch.Tensor, chance: float, generator: torch.Generator) -> torch.Tensor:
    """Fill one rectangle, a tenth to a third of the side, with the image's mean (DeVries 2017)."""
    n, _, side, _ = images.shape
    erased = torch.rand(n, generator=generator) < chance
    half = 0.05 + torch.rand(n, 2, generator=generator) * 0.12
    centre = torch.rand(n, 2, generator=generator)
    place = (torch.arange(side) + 0.5) / side
    inside = (place[None, None] - centre[..., None]).abs() <= half[..., None]
    mask = (inside[:, 0, :, None] & inside[:, 1, None, :] & erased[:, None, None])[:, None]
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return torch.where(mask.to(images.device), mean, images)
