"""Mixup and CutMix: each image of a batch joined with another one, and their labels likewise.

Zhang, Cisse, Dauphin & Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018, eq. 2;
Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
ICCV 2019, eq. 1 and 2. Outlines are mixed as their images are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Mixed(NamedTuple):
    """A batch whose image i is `share` of image i and the rest of image `order[i]`.

    Attributes:
        images: (N, C, S, S); further channels (outlines) are mixed as the first.
        order: (N,) int64.
        share: in [0, 1].
    """

    images: Tensor
    order: Tensor
    share: float

    def parts(self) -> list[tuple[Tensor, float]]:
        """Rows (N,) whose labels count, and how much they do; one part where nothing was mixed."""
        whole = (torch.arange(len(self.order)), self.share)
        return [whole] if self.share == 1 else [whole, (self.order, 1 - self.share)]


def mix(images: Tensor, mixup: float, cutmix: float, generator: torch.Generator) -> Mixed:
    """Mix a batch; where both are asked for, one of them is drawn for each batch.

    Args:
        images: (N, C, S, S) float32.
        mixup: the share is drawn from Beta(mixup, mixup); 0 for none.
        cutmix: the same for the area that stays; 0 for none.
        generator: CPU generator; the same state gives the same result.
    """
    n = len(images)
    if not mixup and not cutmix:
        return Mixed(images, torch.arange(n), 1.0)
    rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
    cuts = bool(cutmix) and (not mixup or rng.random() < 0.5)
    concentration = cutmix if cuts else mixup
    order = torch.from_numpy(rng.permutation(n))
    share = rng.beta(concentration, concentration)
    others = images[order.to(images.device)]
    if not cuts:
        return Mixed(torch.lerp(others, images, share), order, share)
    inside = _box(images.shape[-1], share, rng).to(images.device)
    kept = 1 - float(inside.float().mean())
    return Mixed(torch.where(inside, others, images), order, kept)


def _box(side: int, share: float, rng: np.random.Generator) -> Tensor:
    """(S, S) bool: a square of 1 - `share` of the area around a random place, cut at the border."""
    half = side * np.sqrt(1 - share) / 2
    place = np.arange(side) + 0.5
    rows, columns = (abs(place - rng.uniform(0, side)) < half for _ in range(2))
    return torch.from_numpy(rows[:, None] & columns[None])
