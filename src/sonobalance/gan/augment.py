"""Differentiable augmentation of real and generated images alike, and its adaptive chance.

Zhao, Liu, Lin, Zhu & Han, "Differentiable Augmentation for Data-Efficient GAN Training", NeurIPS
2020 (arXiv:2006.10738): what the discriminators see is always augmented, real or not, in D's and
in G's steps, so that the augmentation does not leak into the generated images. The chance is
steered as in Karras et al., "Training Generative Adversarial Networks with Limited Data", NeurIPS
2020 (arXiv:2006.06676), eq. 1: overfitting shows as discriminators that are sure of TRAIN images.
"""

from __future__ import annotations

import torch
from torch import Tensor

BRIGHTNESS = 0.3  # largest shift, in units of [-1, 1]
CONTRAST = 0.3  # largest relative change around the image's mean
SHIFT = 0.125  # largest translation, share of the side
HOLE = 0.35  # side of the cut-out square, share of the side
BLACK = -1.0
HIGHEST_PROBABILITY = 0.85
LARGEST_STEP = 0.1


DRAWS = 10  # random numbers per image


def augment(images: Tensor, probability: float, draws: Tensor) -> Tensor:
    """Brightness, contrast, translation and cut-out, each with this chance for each image.

    Args:
        images: (N, C, S, S) float32 in [-1, 1].
        probability: chance of each change, in [0, 1].
        draws: (N, `DRAWS`) float32, uniform in [0, 1).

    Returns:
        (N, C, S, S) float32, differentiable in `images`; not clipped.
    """
    side, draws = images.shape[-1], draws.to(images.device)
    on = (draws[:, :4] < probability).float()
    amounts = draws[:, 4:] * 2 - 1
    images = _tone(images, amounts[:, 0] * on[:, 0], amounts[:, 1] * on[:, 1])
    reach = max(1, round(SHIFT * side))
    steps = (amounts[:, 2:4] * (reach + 0.5) * on[:, 2:3]).round().long().clamp(-reach, reach)
    images = _translate(images, steps[:, 0], steps[:, 1], reach)
    centres = ((amounts[:, 4:6] + 1) / 2 * side).long()
    return images * _keep(centres, on[:, 3], side) + BLACK * (1 - _keep(centres, on[:, 3], side))


def _tone(images: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Of the first channel; a mask has no tone."""
    gray, masks = images[:, :1], images[:, 1:]
    mean = gray.mean((1, 2, 3), keepdim=True)
    scale = (1 + CONTRAST * contrast).view(-1, 1, 1, 1)
    changed = (gray - mean) * scale + mean + (BRIGHTNESS * brightness).view(-1, 1, 1, 1)
    return torch.cat([changed, masks], 1) if masks.shape[1] else changed


def _translate(images: Tensor, down: Tensor, right: Tensor, reach: int) -> Tensor:
    """Shift each image by whole pixels; what enters is black."""
    side = images.shape[-1]
    padded = torch.nn.functional.pad(images, (reach,) * 4, value=BLACK)
    line = torch.arange(side, device=images.device) + reach
    rows, columns = line - down[:, None], line - right[:, None]
    item = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[item, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _keep(centres: Tensor, on: Tensor, side: int) -> Tensor:
    """(N, C, S, S) float32: 0 inside the cut-out square of the images with `on` = 1, else 1."""
    half = HOLE * side / 2
    line = torch.arange(side, device=centres.device)
    inside = (line - centres[:, :, None]).abs() < half
    hole = inside[:, 0, :, None] & inside[:, 1, None, :]
    return 1 - (hole.float() * on[:, None, None]).unsqueeze(1)


def adapt(probability: float, certainty: float, target: float, kimg: float) -> float:
    """The next chance: a little higher when discriminators are too sure of real images, else lower.

    Karras et al. 2020, section 3.1.

    Args:
        probability: present chance.
        certainty: E_p[sign(log r(x))] in [-1, 1] since the last call, of the first discriminator.
        target: the certainty to steer to; 0 keeps the chance fixed.
        kimg: thousand images seen since the last call; 0 to 1 takes 25 kimg, but no call changes
            the chance by more than `LARGEST_STEP`, as one far apart from the last would overshoot.
    """
    if target == 0:
        return probability
    step = min(kimg / 25, LARGEST_STEP) * (1 if certainty > target else -1)
    return min(max(probability + step, 0.0), HIGHEST_PROBABILITY)
