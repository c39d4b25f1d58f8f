"""The nearest real image of each synthetic one, by what is seen, by grey values and by features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

from sonobalance.classify import descriptor

PIXEL_SIDE = 32
Distances = NDArray[np.float64]


@dataclass(frozen=True)
class Neighbours:
    """Nearest real images by one measure.

    Attributes:
        measure: ``structural``, ``pixel`` or ``feature``.
        distance: (N,) of each synthetic image to its nearest real one.
        nearest: (N,) position of that image.
        among_real: (M,) of each real image to the nearest of another group.
    """

    measure: str
    distance: Distances
    nearest: NDArray[np.intp]
    among_real: Distances

    @property
    def usual(self) -> float:
        """Median distance of real images to their nearest unrelated one."""
        return float(np.median(self.among_real))

    @property
    def ratio(self) -> Distances:
        """(N,) distances over `usual`: 1 is as close as real images are to each other."""
        out: Distances = self.distance / max(self.usual, 1e-6)
        return out


def by_pixels(made: Tensor, known: Tensor, groups: Sequence[str]) -> Neighbours:
    """Root mean square difference of grey values at 32 x 32, the better of both mirrors.

    Args:
        made: (N, 1, S, S) uint8.
        known: (M, 1, S, S) uint8.
        groups: M keys of relatives, two at least; relatives are not compared with each other.
    """

    def values(pixels: Tensor) -> Distances:
        small = F.interpolate(pixels.float() / 255, size=(PIXEL_SIDE, PIXEL_SIDE), mode="area")
        return small.flatten(1).double().numpy() / PIXEL_SIDE  # a distance is then the RMS

    sides = [values(made), values(made.flip(3))], [values(known), values(known.flip(3))]
    return _nearest("pixel", *sides, groups)


def by_features(made: Tensor, known: Tensor, groups: Sequence[str]) -> Neighbours:
    """Euclidean distance of standardised `classify.descriptor` features, the better mirror.

    Args:
        made: (N, 1, S, S) uint8.
        known: (M, 1, S, S) uint8.
        groups: M keys of relatives, two at least; relatives are not compared with each other.
    """

    def values(pixels: Tensor) -> Distances:
        return np.stack([descriptor.describe(image[0].numpy()) for image in pixels]).astype(float)

    real = values(known)
    mean, spread = real.mean(0), np.maximum(real.std(0), 1e-6)
    made_sides = [(values(x) - mean) / spread for x in (made, made.flip(3))]
    known_sides = [(real - mean) / spread, (values(known.flip(3)) - mean) / spread]
    return _nearest("feature", made_sides, known_sides, groups)


def by_structure(table: Tensor, among_real: Distances) -> Neighbours:
    """From likenesses of synthetic to real images (N, M), and distances among the latter (M,)."""
    distances = (1 - table).clamp(0, 1).double().numpy()
    return Neighbours("structural", distances.min(1), distances.argmin(1), among_real)


def _nearest(
    measure: str, made: Sequence[Distances], known: Sequence[Distances], groups: Sequence[str]
) -> Neighbours:
    distances = np.minimum(*(cdist(side, known[0]) for side in made))
    own = np.minimum(*(cdist(side, known[0]) for side in known))
    keys = np.asarray(groups)
    own[keys[:, None] == keys] = np.inf
    return Neighbours(measure, distances.min(1), distances.argmin(1), own.min(1))
