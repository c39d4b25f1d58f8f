"""One number that makes probabilities honest (Guo et al., ICML 2017, section 4.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

_LIMIT = 3.0


def fit_temperature(logits: ArrayLike, targets: ArrayLike) -> float:
    """The temperature T that minimises the log-loss of softmax(logits / T).

    Args:
        logits: (N, K) of validation images.
        targets: (N,) integers.

    Returns:
        T in [0.05, 20]; the limits keep a separable validation set from demanding T = 0.
    """
    z, y = np.asarray(logits, np.float64), np.asarray(targets)
    found = minimize_scalar(
        lambda log_t: mean_log_loss(z / np.exp(log_t), y), bounds=(-_LIMIT, _LIMIT),
        method="bounded", options={"xatol": 1e-6},
    )  # fmt: skip
    return float(np.exp(found.x))


def mean_log_loss(logits: ArrayLike, targets: ArrayLike) -> float:
    """Mean of -log softmax(logits)[target]."""
    z, y = np.asarray(logits, np.float64), np.asarray(targets)
    return float(-log_softmax(z, axis=1)[np.arange(len(y)), y].mean())


def tempered(logits: ArrayLike, temperature: float) -> NDArray[np.float64]:
    """softmax(logits / T), (N, K)."""
    out: NDArray[np.float64] = softmax(np.asarray(logits, np.float64) / temperature, axis=1)
    return out
