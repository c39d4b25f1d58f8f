"""How near a GAN's images come to real ones, and how near one real half comes to the other.

Of halves of TRAIN, made of whole groups, the first stands for the real images everywhere and the
second for the generated ones. `kid`, its spread and `probe_auc` of a method are of all of TRAIN and
so of more images than those of the halves. The estimate of KID is unbiased, so that its values
compare all the same; its spread and the AUC, which rises with the number of images that the probe
learns from, do not. Beside them therefore stand `kid_half`, `kid_half_std` and `probe_auc_half`:
the first real half against as many generated images as the second one has, as for density and
coverage, means over the draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from sonobalance.classify.probe import cross_fitted
from sonobalance.data.loading import LabelledImages
from sonobalance.synthesis.fidelity import (
    density_coverage,
    split_halves,
    subset_kernel_distance,
)

Features = NDArray[np.float64]


def standardised(x: Features, by: Features) -> Features:
    """Centred and divided by one number: almost constant features must not decide."""
    return np.asarray((x - by.mean(0)) / np.sqrt(by.var(0).mean()))


def floor_of(real: Features, images: LabelledImages, groups: Sequence[str]) -> dict[str, Any]:
    """One half of TRAIN against the other, no group in both.

    Args:
        real: (N, F) features of TRAIN.
        images: TRAIN.
        groups: N keys of relatives.
    """
    real, keys, out = standardised(real, real), np.asarray(groups), {}
    for k, label in enumerate(images.classes):
        mine = (images.targets == k).numpy()
        first = split_halves(keys[mine].tolist(), 0)
        a, b = real[mine][first], real[mine][~first]
        kid, spread = subset_kernel_distance(a, b, 0)
        density, coverage = density_coverage(a, b)
        out[label] = {"n": [len(a), len(b)], "kid": kid, "kid_std": spread,
                      "density": density, "coverage": coverage}  # fmt: skip
    halves = split_halves(groups, 0)
    told = cross_fitted(real, halves.astype(int), keys, seed=0)[:, 1]
    return {"classes": out, "probe_auc": float(roc_auc_score(halves, told))}


def apart_of(
    real: Features, images: LabelledImages, away: NDArray[np.bool_], seed: int
) -> dict[str, float]:
    """KID of what a method learns from to what it never sees: `kid_held_back` of real images.

    Held-back images are few and relatives of each other, so that this is far from zero and another
    number for each seed; a generator that copies what it learnt from has the same. Classes of which
    nothing is held back are left out.

    Args:
        real: (N, F) features of TRAIN.
        images: TRAIN.
        away: (N,) which images of TRAIN the method never saw.
        seed: of subsets.
    """
    real, out = standardised(real, real), {}
    for k, label in enumerate(images.classes):
        mine = (images.targets == k).numpy()
        if (mine & away).any():
            out[label], _ = subset_kernel_distance(real[mine & away], real[mine & ~away], seed)
    return out


def measures_of(
    real: Features,
    draws: Sequence[Features],
    images: LabelledImages,
    groups: Sequence[str],
    *,
    away: NDArray[np.bool_],
    seed: int,
) -> dict[str, Any]:
    """A method's images against TRAIN and against what it never saw.

    Args:
        real: (N, F) features of TRAIN.
        draws: (N, F) each, of generated images of the classes of TRAIN, in its order.
        images: TRAIN.
        groups: N keys of relatives.
        away: (N,) which images of TRAIN the method never saw.
        seed: of subsets and of the probe's folds.
    """
    draws = [standardised(draw, real) for draw in draws]
    real, keys, out = standardised(real, real), np.asarray(groups), {}
    for k, label in enumerate(images.classes):
        mine = (images.targets == k).numpy()
        every = np.concatenate([draw[mine] for draw in draws])
        kid, spread = subset_kernel_distance(real[mine], every, seed)
        apart, _ = subset_kernel_distance(real[mine & away], every, seed)
        first = split_halves(keys[mine].tolist(), 0)
        half, drawn = real[mine][first], [draw[mine][~first] for draw in draws]
        density, coverage = np.mean([density_coverage(half, part) for part in drawn], 0).tolist()
        near, near_spread = np.mean(
            [subset_kernel_distance(half, part, 0) for part in drawn], 0
        ).tolist()
        out[label] = {"kid": kid, "kid_std": spread, "kid_held_back": apart,
                      "kid_half": near, "kid_half_std": near_spread,
                      "density": density, "coverage": coverage}  # fmt: skip
    halves = split_halves(groups, 0)
    whole = [told_apart(real, draw, keys, seed) for draw in draws]
    half_aucs = [told_apart(real[halves], draw[~halves], keys[halves], seed) for draw in draws]
    return {
        "classes": out,
        "probe_auc": float(np.mean(whole)),
        "probe_auc_half": float(np.mean(half_aucs)),
    }


def told_apart(real: Features, fake: Features, groups: NDArray[np.str_], seed: int) -> float:
    """AUC of a cross-fitted probe of real against generated images."""
    is_fake = np.repeat([0, 1], [len(real), len(fake)])
    relatives = np.array([*groups, *(f"synthetic-{i}" for i in range(len(fake)))])
    told = cross_fitted(np.concatenate([real, fake]), is_fake, relatives, seed=seed)[:, 1]
    return float(roc_auc_score(is_fake, told))
