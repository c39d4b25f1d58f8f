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


def image_weights(
    targets: torch.Tensor, synthetic: torch.Tensor, classes: int, *, balance: Balance, share: float
) -> torch.Tensor:
    """Loss weight of each image.

    Args:
        targets: (N,) int64.
        synthetic: (N,) bool.
        classes: number of classes K.
        balance: `class-weights` weighs a class by N / (K · images in it).
        share: weight of a synthetic image.

    Returns:
        (N,) float32.
    """
    weights = torch.where(synthetic, share, 1.0)
    if balance == "class-weights":
        counts = torch.bincount(targets, minlength=classes).clamp(min=1)
        weights = weights * (len(targets) / (classes * counts))[targets]
    return weights.float()


def epoch_order(
    targets: NDArray[np.int64], *, balance: Balance, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Positions of the images in the order in which one epoch shows them; as many as images.

    `over-sampling` shows each class equally often: small classes are gone through several times,
    of large ones each epoch shows another random part.
    """
    rng = numpy_generator(seed, "order", epoch)
    n = len(targets)
    if balance != "over-sampling":
        return rng.permutation(n)
    present = np.unique(targets)
    shares = np.full(len(present), n // len(present))
    shares[: n % len(present)] += 1
    rows = [
        _cycled(np.flatnonzero(targets == k), m, rng) for k, m in zip(present, shares, strict=True)
    ]
    return rng.permutation(np.concatenate(rows))


def _cycled(rows: NDArray[np.int64], length: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`length` positions: as many whole shuffled passes over `rows` as fit, and a part of one."""
    passes = -(-length // len(rows))
    return np.concatenate([rng.permutation(rows) for _ in range(passes)])[:length]
