"""Is the generator still making different and plausible images? Measured once per snapshot.

Features come from the warm-up's encoder, which neither discriminator ever trains: the mean and the
spread of each channel of each level, standardised by the TRAIN images. The distance is the kernel
inception distance of Bińkowski et al., "Demystifying MMD GANs", ICLR 2018, on these features; it
ranks snapshots of one training, and is comparable with nothing else.
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
class Quality:
    """What the monitor measured.

    Attributes:
        distance: mean over classes of the feature distance to TRAIN images; lower is better.
        diversity: for each class, pairwise distance of generated images over that of real ones.
        repetition: see `repetition`, of the generated images.
    """

    distance: float
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


def assess(
    encoder: Encoder, real: Tensor, real_targets: Tensor, fake: Tensor, fake_targets: Tensor
) -> Quality:
    """Compare generated with TRAIN images, class by class; all (N, 1, S, S) in [-1, 1]."""
    of_real, of_fake = features(encoder, real), features(encoder, fake)
    mean, spread = of_real.mean(0), of_real.std(0) + 1e-6
    of_real, of_fake = (of_real - mean) / spread, (of_fake - mean) / spread
    distances, diversity = [], []
    for target in real_targets.unique().tolist():
        r, f = real_targets == target, fake_targets == target
        if r.sum() < 2:
            diversity.append(1.0)
            continue
        distances.append(float(kernel_distance(of_real[r], of_fake[f])))
        diversity.append(pairwise_distance(fake[f]) / max(pairwise_distance(real[r]), 1e-6))
    return Quality(sum(distances) / max(1, len(distances)), tuple(diversity), repetition(fake))
