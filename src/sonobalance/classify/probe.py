"""The probe: a regularised logistic regression on frozen features.

It is the cheapest arm of the benchmark, the judge of candidate images, and the first head of the
fine-tuned classifier (linear probing before fine-tuning: Kumar et al., ICLR 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler

from sonobalance.errors import InputError

Matrix = NDArray[np.float64]
Labels = NDArray[np.int64]
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]
_USUAL_C = 0.003
_CONSTANT = 1e-12
_GRID = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)


@dataclass(frozen=True)
class Probe:
    """A fitted linear classifier on raw (not standardised) features.

    Attributes:
        weight: (K, F).
        bias: (K,).
        c: inverse strength of the regularisation that was used.
    """

    weight: Matrix
    bias: Matrix
    c: float

    def logits(self, features: ArrayLike) -> Matrix:
        """(N, F) features → (N, K) logits."""
        out: Matrix = np.asarray(features, np.float64) @ self.weight.T + self.bias
        return out

    def probabilities(self, features: ArrayLike) -> Matrix:
        """(N, F) features → (N, K) class probabilities."""
        out: Matrix = softmax(self.logits(features), axis=1)
        return out


def fit_probe(
    features: ArrayLike,
    targets: ArrayLike,
    groups: ArrayLike | None = None,
    seed: int = 0,
    *,
    c: float | None = None,
    weights: ArrayLike | None = None,
    blocks: Sequence[int] | None = None,
) -> Probe:
    """Standardise features, fit a multinomial logistic regression, fold both into one linear map.

    Args:
        features: (N, F).
        targets: (N,) integers 0..K-1, each class present.
        groups: (N,) relatives' keys; with them and no `c`, `c` is chosen by grouped five-fold
            log-loss among 0.0003 to 0.1.
        seed: of the folds that choose `c`.
        c: inverse regularisation strength of scikit-learn; default 0.003 without `groups`.
        weights: (N,) weight of each image in the loss and in the standardisation; all 1 when None.
        blocks: widths of the parts of the features that are of one kind. With them a feature that
            hardly varies here is not enlarged to the spread of the others of its kind, which makes
            the answers to unusual images wild: half the median spread is added to each (as the
            constant in the denominator of Tusher et al., PNAS 2001) before scaling by it.

    Raises:
        InputError: a class between 0 and K-1 has no image, or there is one class only.
    """
    x, y = np.asarray(features, np.float64), np.asarray(targets, np.int64)
    if len(np.unique(y)) < 2 or set(np.unique(y)) != set(range(int(y.max()) + 1)):
        raise InputError(
            "Expected at least two classes with an image in each for the probe, but got images of "
            f"the classes {sorted(set(y.tolist()))}."
        )
    if c is None:
        c = _USUAL_C if groups is None else _chosen_c(x, y, np.asarray(groups), seed)
    scaler = standardiser(x, weights)
    if blocks is not None:
        scaler.scale_ = _steadied(scaler.scale_, blocks)
    model = LogisticRegression(C=c, max_iter=2000)
    model.fit(scaler.transform(x), y, sample_weight=weights)
    coefficients, intercept = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(coefficients) == 1:  # two classes: one row of log-odds becomes two rows of logits
        coefficients = np.stack([-coefficients[0] / 2, coefficients[0] / 2])
        intercept = np.array([-intercept[0] / 2, intercept[0] / 2])
    weight = coefficients / scaler.scale_
    return Probe(weight, intercept - weight @ scaler.mean_, c)


def standardiser(x: Matrix, weights: ArrayLike | None) -> StandardScaler:
    """The scaler of (N, F) features in rows of (N,) weights; constant features stay as they are.

    scikit-learn's own weighted variance may come out below zero where a feature is constant.
    """
    scaler = StandardScaler().fit(x)
    if weights is not None:
        w = np.asarray(weights, np.float64)
        scaler.mean_ = np.average(x, axis=0, weights=w)
        spread = np.sqrt(np.average((x - scaler.mean_) ** 2, axis=0, weights=w))
        scaler.scale_ = np.where(spread > _CONSTANT, spread, 1.0)
    return scaler


def _steadied(spread: Matrix, blocks: Sequence[int]) -> Matrix:
    """Spreads with half of their block's median added, over 1.5, so that the median stays."""
    parts = np.split(spread, np.cumsum(blocks)[:-1])
    return np.concatenate([(part + np.median(part) / 2) / 1.5 for part in parts])


def cross_fitted(
    features: ArrayLike,
    targets: ArrayLike,
    groups: ArrayLike,
    folds: int = 5,
    seed: int = 0,
    *,
    c: float = 0.003,
) -> Matrix:
    """(N, K) probabilities of each image by a probe that saw neither it nor a relative of it.

    Raises:
        InputError: fewer groups than folds, or a fold leaves a class without images.
    """
    x, y, g = np.asarray(features, np.float64), np.asarray(targets), np.asarray(groups)
    if len(np.unique(g)) < folds:
        raise InputError(
            f"Expected at least {folds} groups for {folds} folds, but got {len(np.unique(g))}."
        )
    out, dealt = np.zeros((len(y), int(y.max()) + 1)), _dealt(y, g, folds, seed)
    if not _complete(y, dealt):
        raise InputError(
            f"Expected images of every class outside of each of {folds} folds, but one class fell "
            "into one fold; give more groups of it."
        )
    for seen, unseen in dealt:
        probe = fit_probe(x[seen], y[seen], seed=seed, c=c)
        out[unseen] = probe.probabilities(x[unseen])
    return out


def _dealt(y: Labels, groups: NDArray[np.generic], folds: int, seed: int) -> list[Fold]:
    dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    return list(dealer.split(y, y, groups))


def _complete(y: Labels, dealt: Sequence[Fold]) -> bool:
    """Whether every class is seen whichever fold is left out."""
    return all(len(np.unique(y[seen])) == len(np.unique(y)) for seen, _ in dealt)


def _chosen_c(x: Matrix, y: Labels, groups: NDArray[np.generic], seed: int) -> float:
    """The regularisation with the lowest grouped cross-validated log-loss.

    As many folds as the class with the fewest groups allows, five at most; the middle of the grid
    where a class has a single group, or groups of several classes put all of one into one fold.
    """
    folds = min(5, *(len(np.unique(groups[y == k])) for k in np.unique(y)))
    if folds < 2 or not _complete(y, _dealt(y, groups, folds, seed)):
        return _USUAL_C
    losses = [log_loss(y, cross_fitted(x, y, groups, folds, seed, c=c)) for c in _GRID]
    return _GRID[int(np.argmin(losses))]
