"""Near-duplicates as real sets contain them: the same frame saved again with small changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sonobalance.data.phantoms.marks import Gray, burn_calipers

Mask = NDArray[np.bool_]
Copy = tuple[Gray, Mask]


def cropped(image: Gray, mask: Mask, rng: np.random.Generator) -> Copy:
    """88 to 95 % of each side, at a random place."""
    height, width = (round(side * rng.uniform(0.88, 0.95)) for side in image.shape)
    top = int(rng.integers(image.shape[0] - height + 1))
    left = int(rng.integers(image.shape[1] - width + 1))
    window = np.s_[top : top + height, left : left + width]
    return image[window], mask[window]


def brightened(image: Gray, mask: Mask, rng: np.random.Generator) -> Copy:
    """Another contrast (±25 %) and brightness (10 to 25 grey values up or down)."""
    shift = rng.uniform(10, 25) * rng.choice([-1, 1])
    changed = image * rng.uniform(0.8, 1.25) + shift
    return np.clip(np.round(changed), 0, 255).astype(np.uint8), mask


def flipped(image: Gray, mask: Mask, rng: np.random.Generator) -> Copy:
    """Left and right exchanged."""
    del rng
    return image[:, ::-1], mask[:, ::-1]


def measured(image: Gray, mask: Mask, rng: np.random.Generator) -> Copy:
    """The same frame with calipers burnt in; only for images with a lesion."""
    del rng
    return burn_calipers(image, mask)[0], mask


COPIES: dict[str, Callable[[Gray, Mask, np.random.Generator], Copy]] = {
    "crop": cropped,
    "brightness": brightened,
    "flip": flipped,
    "calipers": measured,
}
