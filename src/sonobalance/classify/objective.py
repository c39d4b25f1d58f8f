"""What a training step minimises, and which images it sees."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import log_softmax

from sonobalance.config import Balance
from sonobalance.randomness import numpy_generator


def weighted_loss(
    logits: torch.Tensor,
    targets: torch.Tensor,
    weights: torch.Tensor,
    *,
    smoothing: float = 0.0,
    focal_gamma: float = 0.0,
) -> torch.Tensor:
    """Weighted mean of the label-smoothed, optionally focal cross-entropy.

    Per image, with p = softmax(logits) and the smoothed target q = (1 - ε)·onehot + ε/K
    (Szegedy et al. 2016, eq. 8): (1 - p_target)^γ · Σ_k -q_k log p_k (Lin et al. 2017, eq. 4).

    Args:
        logits: (N, K).
        targets: (N,) int64.
        weights: (N,) non-negative; their sum divides.
        smoothing: ε in [0, 1).
        focal_gamma: γ ≥ 0; 0 is the plain cross-entropy.

    Returns:
        Scalar.
    """
    log_p = log_softmax(logits, 1)
    log_target = log_p.gather(1, targets[:, None])[:, 0]
    losses = -(1 - smoothing) * log_target - smoothing * log_p.mean(1)
    if focal_gamma:
        losses = losses * (1 - log_target.exp()) ** focal_gamma
    return (losses * weights).sum() / weights.sum().clamp(min=1e-12)


def image_weights(targets: torch.Tensor, classes: int, *, balance: Balance) -> torch.Tensor:
    """Loss weight of each image.

    Args:
        targets: (N,) int64.
        classes: number of classes K.
        balance: `class-weights` weighs a class by N / (K · images in it).

    Returns:
        (N,) float32.
    """
    if balance != "class-weights":
        return torch.ones(len(targets))
    counts = torch.bincount(targets, minlength=classes).clamp(min=1)
    return (len(targets) / (classes * counts))[targets].float()


def times_shown(
    targets: NDArray[np.int64], synthetic: NDArray[np.bool_], *, balance: Balance, share: float
) -> NDArray[np.float64]:
    """How often an epoch, which shows as many images as there are real ones, shows each on average.

    Equally often, but with `over-sampling`: then each class equally often, and its synthetic images
    at most `share` of that. Real images of a class must stay the most of what is shown of it, or a
    network learns the look of synthetic images as that of the class.

    Args:
        targets: (N,).
        synthetic: (N,).
        balance: as in `image_weights`.
        share: in [0, 1]; never so much that a synthetic image is shown more often than a real one.

    Returns:
        (N,); their sum is the number of real images.
    """
    real = float((~synthetic).sum())
    if balance != "over-sampling":
        return np.full(len(targets), real / len(targets))
    shown = np.zeros(len(targets))
    present = np.unique(targets)
    for k in present:
        mine = targets == k
        part = _share_of(mine, synthetic, share)
        shown[mine & synthetic] = part / max(1, (mine & synthetic).sum())
        shown[mine & ~synthetic] = (1 - part) / max(1, (mine & ~synthetic).sum())
    return shown * real / len(present)


def weight_in_all(
    targets: torch.Tensor, real: int, classes: int, *, balance: Balance, share: float
) -> torch.Tensor:
    """Weight of each image for a regression, which sees each once: loss weight times times shown.

    Args:
        targets: (N,) int64; the first `real` of them of real images, the rest of synthetic ones.
        real: how many are real.
        classes: number of classes.
        balance: as in `image_weights`.
        share: as in `times_shown`.

    Returns:
        (N,) float64.
    """
    synthetic = np.arange(len(targets)) >= real
    shown = times_shown(targets.numpy(), synthetic, balance=balance, share=share)
    return image_weights(targets, classes, balance=balance).double() * torch.from_numpy(shown)


def epoch_order(
    targets: NDArray[np.int64],
    synthetic: NDArray[np.bool_],
    *,
    balance: Balance,
    share: float,
    seed: int,
    epoch: int,
) -> NDArray[np.int64]:
    """Positions of the images in the order in which one epoch shows them; as many as images.

    `over-sampling` shows each class equally often, as `times_shown` says: small classes are gone
    through several times, of large ones each epoch shows another random part.
    """
    rng = numpy_generator(seed, "order", epoch)
    n = len(targets)
    if balance != "over-sampling":
        return rng.permutation(n)
    present = np.unique(targets)
    sizes = np.full(len(present), n // len(present))
    sizes[: n % len(present)] += 1
    rows = []
    for k, size in zip(present, sizes, strict=True):
        made = round(size * _share_of(targets == k, synthetic, share))
        rows.append(_cycled(np.flatnonzero((targets == k) & ~synthetic), size - made, rng))
        rows.append(_cycled(np.flatnonzero((targets == k) & synthetic), made, rng))
    return rng.permutation(np.concatenate(rows))


def _share_of(mine: NDArray[np.bool_], synthetic: NDArray[np.bool_], share: float) -> float:
    """Share of a class's draws that go to its synthetic images."""
    natural = float(synthetic[mine].mean())
    return natural if natural == 1 else min(share, natural)


def _cycled(rows: NDArray[np.int64], length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`length` positions: as many whole shuffled passes over `rows` as fit, and a part of one."""
    if not length:
        return rows[:0]
    passes = -(-length // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(passes)])[:length]
