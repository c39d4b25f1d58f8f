"""Is the generator still making different images? And how near are they to real ones?

The kernel inception distance (KID) is that of Bińkowski et al., "Demystifying MMD GANs", ICLR 2018.
It depends on the features: see `held.Ruler` for those in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sonobalance.gan.networks import Encoder

FEATURE_BATCH = 32
COARSE_PX = 16  # diversity is judged at this side, where speckle does not count


@dataclass(frozen=True)
class Health:
    """What the monitor measured.

    Attributes:
        diversity: for each class, pairwise distance of generated images over that of real ones.
        repetition: see `repetition`, of the generated images.
    """

    diversity: tuple[float, ...]
    repetition: float


@torch.no_grad()
def features(encoder: Encoder, images: Tensor) -> Tensor:
    """(N, C) float32: mean and standard deviation of every channel of every level."""
    encoder.eval()
    rows = []
    for part in images.split(FEATURE_BATCH):
        maps = [m.float().flatten(2) for m in encoder.maps(part)]
        rows.append(torch.cat([f(m) for m in maps for f in (_mean, _spread)], 1))
    return torch.cat(rows)


def _mean(x: Tensor) -> Tensor:
    return x.mean(2)


def _spread(x: Tensor) -> Tensor:
    return x.std(2)


def kernel_distance(x: Tensor, y: Tensor) -> Tensor:
    """Unbiased squared maximum mean discrepancy with the kernel (x·y/C + 1)³ (eq. 4 there).

    `x` (N, C) and `y` (M, C) float32, N, M ≥ 2; a scalar that may be slightly negative.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(x), len(y)
    xx, yy = kernel(x, x), kernel(y, y)
    within = (xx.sum() - xx.trace()) / (n * (n - 1)) + (yy.sum() - yy.trace()) / (m * (m - 1))
    return within - 2 * kernel(x, y).mean()


def pairwise_distance(images: Tensor) -> float:
    """Mean root-mean-square difference of all pairs of images (N ≥ 2, 1, S, S), at 16 px."""
    small = F.avg_pool2d(images, max(1, images.shape[-1] // COARSE_PX)).flatten(1)
    return float(torch.pdist(small).mean() / small.shape[1] ** 0.5)


def repetition(images: Tensor) -> float:
    """Share of the fine detail that all images (N ≥ 2, 1, S, S) have in common: about 0 to 1.

    Detail is what a blur over an eighth of the side removes. Its mean image has 1/N of the energy
    when images are unrelated and all of it when one texture is stamped on each; the value is
    corrected for N, so that unrelated images give 0.
    """
    width = images.shape[-1] // 8 + 1
    blurred = F.avg_pool2d(images, width, 1, width // 2, count_include_pad=False)
    detail = (images - blurred).flatten(1)
    n, energy = len(detail), detail.square().mean()
    shared = (n * detail.mean(0).square().mean() - energy) / (n - 1)
    return float(shared / energy.clamp_min(1e-12))


def assess(real: Tensor, real_targets: Tensor, fake: Tensor, fake_targets: Tensor) -> Health:
    """Compare the diversity of generated and TRAIN images; all (N, 1, S, S) in [-1, 1]."""
    diversity = []
    for target in real_targets.unique().tolist():
        r, f = real[real_targets == target], fake[fake_targets == target]
        few = len(r) < 2
        diversity.append(1.0 if few else pairwise_distance(f) / max(pairwise_distance(r), 1e-6))
    return Health(tuple(diversity), repetition(fake))
