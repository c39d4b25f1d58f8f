"""How close synthetic images are to real ones as a set, always beside the real-vs-real value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from sonobalance.gan.monitor import kernel_distance
from sonobalance.randomness import numpy_generator

Features = NDArray[np.float64]
SUBSETS = 50
NEIGHBOURS = 5
FEWEST = 8  # images on either side, below which nothing is measured


def subset_kernel_distance(x: Features, y: Features, seed: int) -> tuple[float, float]:
    """Mean and standard deviation of `kernel_distance` over random subsets.

    A subset has half the images of the smaller side, so that subsets differ enough to be averaged.
    """
    size = min(len(x), len(y)) // 2
    generator = numpy_generator(seed, "kernel distance")
    a, b = torch.from_numpy(x), torch.from_numpy(y)
    values = [
        kernel_distance(
            a[generator.choice(len(x), size, replace=False)],
            b[generator.choice(len(y), size, replace=False)],
        ).item()
        for _ in range(SUBSETS)
    ]
    return float(np.mean(values)), float(np.std(values))


def density_coverage(
    real: Features, fake: Features, neighbours: int = NEIGHBOURS
) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, eq. 3 and 5).

    Args:
        real: (n, d) features.
        fake: (m, d) features.
        neighbours: k; a real image's ball reaches its k-th nearest other real image.

    Returns:
        Density: fake images per ball, relative to k (1 for equal distributions, can exceed it).
        Coverage: share of the real balls with a fake image inside.
    """
    k = min(neighbours, len(real) - 1)
    among = cdist(real, real)
    np.fill_diagonal(among, np.inf)
    radii = np.partition(among, k - 1, axis=1)[:, k - 1]
    inside = cdist(real, fake) < radii[:, None]
    return float(inside.sum() / (k * len(fake))), float(inside.any(axis=1).mean())


@dataclass(frozen=True)
class Fidelity:
    """Synthetic images of one class against the real TRAIN images of it.

    Attributes:
        label: the class.
        real, synthetic: numbers of images.
        kid, kid_std: kernel distance, mean and standard deviation over subsets of half the images.
        kid_floor: the same between halves of the real images that share no group.
        density, coverage: see `density_coverage`.
        density_floor, coverage_floor: of one real half against the other.
        memorisation: median over synthetic images of the distance to the nearest real image,
            divided by the median of real images to their nearest unrelated one; 1 means no closer
            than unrelated patients are, 0 means copies.
    """

    label: str
    real: int
    synthetic: int
    kid: float
    kid_std: float
    kid_floor: float
    density: float
    coverage: float
    density_floor: float
    coverage_floor: float
    memorisation: float


def measure_fidelity(
    label: str,
    real: Features,
    groups: Sequence[str],
    synthetic: Features,
    *,
    seed: int,
    memorisation: float,
) -> Fidelity | None:
    """Fidelity of one class; None where there are too few images to measure anything.

    Args:
        label: the class.
        real: (n, d) standardised features of the real TRAIN images.
        groups: n keys of relatives.
        synthetic: (m, d) features, standardised alike.
        seed: of subsets and halves.
        memorisation: see `memorisation_ratio`.
    """
    first = split_halves(groups, seed)
    halves = real[first], real[~first]
    size = min(len(synthetic), *(len(half) for half in halves))
    if size < FEWEST:
        return None
    kid, spread = subset_kernel_distance(real, synthetic, seed)
    floor, _ = subset_kernel_distance(*halves, seed)
    density, coverage = density_coverage(halves[0], synthetic[:size])
    density_floor, coverage_floor = density_coverage(halves[0], halves[1][:size])
    return Fidelity(
        label, len(real), len(synthetic), kid, spread, floor,
        density, coverage, density_floor, coverage_floor, memorisation,
    )  # fmt: skip


def memorisation_ratio(to_real: Features, among_real: Features) -> float:
    """Median distance of synthetic images to the nearest real one over that among real images.

    Args:
        to_real: (m,) of synthetic images to their nearest real image.
        among_real: (n,) of real images to their nearest unrelated one.
    """
    return float(np.median(to_real) / max(float(np.median(among_real)), 1e-6))


def split_halves(groups: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Which images are in the first half, whole groups dealt to the smaller half in turn."""
    keys = np.asarray(groups, dtype=np.str_)
    names, sizes = np.unique(keys, return_counts=True)
    order = numpy_generator(seed, "halves").permutation(len(names))
    chosen: set[str] = set()
    first = second = 0
    for i in order:
        if first <= second:
            chosen.add(str(names[i]))
            first += sizes[i]
        else:
            second += sizes[i]
    return np.array([key in chosen for key in keys.tolist()])
