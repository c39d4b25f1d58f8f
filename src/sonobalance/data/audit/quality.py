"""What an image is like besides its content: size, brightness, borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonobalance.data.images import Gray

BLACK = 8  # grey values up to this one are border
CONSTANT_STD = 2.0  # grey values


@dataclass(frozen=True, slots=True)
class Quality:
    """Metadata of one image that a classifier must not need.

    Attributes:
        width, height: native size, pixels.
        mean, spread: mean and standard deviation of the grey values, in [0, 255].
        dark: share of the pixels that are black, in [0, 1].
        left, right, top, bottom: width of the black borders as shares of the side, in [0, 1].
    """

    width: int
    height: int
    mean: float
    spread: float
    dark: float
    left: float
    right: float
    top: float
    bottom: float

    @property
    def constant(self) -> bool:
        """Whether the image shows nothing."""
        return self.spread < CONSTANT_STD

    @property
    def border(self) -> float:
        """The widest black border as a share of its side, in [0, 1]."""
        return max(self.left, self.right, self.top, self.bottom)

    def features(self) -> list[float]:
        """The numbers from which the class should not be guessable."""
        return [
            self.width, self.height, self.width / self.height, self.mean, self.spread, self.dark,
            self.left, self.right, self.top, self.bottom,
        ]  # fmt: skip


def measure(gray: Gray) -> Quality:
    """Measure a (H, W) uint8 image."""
    height, width = gray.shape
    lit = gray > BLACK
    columns, rows = lit.mean(axis=0) > 0.02, lit.mean(axis=1) > 0.02
    return Quality(
        width, height, float(gray.mean()), float(gray.std()), float(1 - lit.mean()),
        _run(columns), _run(columns[::-1]), _run(rows), _run(rows[::-1]),
    )  # fmt: skip


def _run(lit: NDArray[np.bool_]) -> float:
    """Share of the entries before the first True."""
    return float(lit.argmax() / len(lit)) if lit.any() else 1.0
