"""What stands in for image content that is taken away."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.functional import avg_pool2d
from torchvision.transforms.functional import gaussian_blur


def blurred(images: torch.Tensor) -> torch.Tensor:
    """(N, 1, S, S) blurred by a Gaussian of σ = S / 16: brightness stays, structure goes."""
    sigma = images.shape[-1] / 16
    half = min(int(3 * sigma), images.shape[-1] - 1)
    return gaussian_blur(images, [2 * half + 1, 2 * half + 1], [sigma, sigma])


def local_mean(images: torch.Tensor) -> torch.Tensor:
    """(N, 1, S, S) with every pixel the mean of the S / 3 square around it."""
    half = max(1, images.shape[-1] // 6)
    return avg_pool2d(images, 2 * half + 1, stride=1, padding=half, count_include_pad=False)


BASELINES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "blur": blurred,
    "local_mean": local_mean,
}
