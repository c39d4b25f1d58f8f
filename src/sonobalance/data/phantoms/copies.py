"""Near-duplicates as real sets contain them: the same frame saved again with small changes."""

from __future__ import annotations

from collections.abc import Callable

import cv2
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


def unchanged(image: Gray, mask: Mask, rng: np.random.Generator) -> Copy:
    """The same pixels in another file."""
    del rng
    return image, mask


def reencoded(image: Gray, mask: Mask, rng: np.random.Generator) -> Copy:
    """Saved as JPEG of quality 35 to 70 on the way."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 71))]
    decoded = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_GRAYSCALE)
    return np.asarray(decoded, np.uint8), mask


def resized(image: Gray, mask: Mask, rng: np.random.Generator) -> Copy:
    """55 to 80 % of the size, the sides by up to 5 % differently."""
    scale = rng.uniform(0.55, 0.8)
    size = (
        round(image.shape[1] * scale * rng.uniform(0.95, 1.05)),
        round(image.shape[0] * scale),
    )
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    nearest = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(small, np.uint8), nearest > 0


def gained(image: Gray, mask: Mask, rng: np.random.Generator) -> Copy:
    """Another gain with depth and another gamma, as after turning the TGC sliders."""
    depth = np.linspace(rng.uniform(-20, 20), rng.uniform(-20, 20), len(image))[:, None]
    changed = 255 * (image / 255) ** rng.uniform(0.75, 1.3) + depth
    return np.clip(np.round(changed), 0, 255).astype(np.uint8), mask


def reframed(image: Gray, mask: Mask, rng: np.random.Generator) -> Copy:
    """The same lesion in the next frame: probe moved and pressed, zoom, gain, fresh noise.

    The window moves by up to 10 % of the side, the zoom by 10 %; the tissue bends smoothly by
    about 1 % of the side; a tenth of the grey value is new speckle.
    """
    height, width = image.shape
    zoom = rng.uniform(1.0, 1.1)
    bend = [cv2.resize(rng.normal(0, 0.01 * width, (3, 3)), (width, height)) for _ in "xy"]
    y, x = np.mgrid[:height, :width] / zoom
    x = x + rng.uniform(-0.1, 0.1) * width + bend[0]
    y = y + bend[1]
    places = x.astype(np.float32), y.astype(np.float32)
    moved = cv2.remap(image, *places, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    inside = cv2.remap(mask.astype(np.uint8), *places, cv2.INTER_NEAREST)
    noise = cv2.GaussianBlur(rng.normal(size=image.shape), (0, 0), 1.6, sigmaY=0.8)
    changed = moved * rng.uniform(0.85, 1.15) * (1 + 0.1 * noise / noise.std())
    return np.clip(np.round(changed), 0, 255).astype(np.uint8), inside > 0


COPIES: dict[str, Callable[[Gray, Mask, np.random.Generator], Copy]] = {
    "crop": cropped,
    "brightness": brightened,
    "flip": flipped,
    "calipers": measured,
    "exact": unchanged,
    "re-encoded": reencoded,
    "resized": resized,
    "gain": gained,
    "reframed": reframed,
}
