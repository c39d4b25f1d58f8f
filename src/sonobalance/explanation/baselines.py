"""What stands in for image content that is taken away.

No stand-in is neutral: a blurred patch is smooth, a local mean is flat, an imputed one is noisy,
and a network may react to each in its own way. So faithfulness is measured with all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch.nn.functional import avg_pool2d, conv2d, pad

from sonobalance.data.images import Letterbox
from sonobalance.explanation.inputs import inside_of
from sonobalance.explanation.road import imputed
from sonobalance.randomness import numpy_generator

ROAD_NOISE = 0.02
Fill = Callable[[torch.Tensor], torch.Tensor]
Filter = Callable[[torch.Tensor], torch.Tensor]


def within(values: torch.Tensor, inside: torch.Tensor, average: Filter) -> torch.Tensor:
    """(N, 1, S, S) local averages over the image alone, as if there were no padding; 0 in it.

    Averaged with it, the first rows of an image would be half as bright, and its edge would count
    as structure.
    """
    weight = inside.to(values)
    return weight * average(values * weight) / average(weight).clamp_min(torch.finfo().tiny)


def gaussian(images: torch.Tensor, sigma: float) -> torch.Tensor:
    """(N, 1, S, S) smoothed by a Gaussian that is cut off at 3 σ, mirrored at the square's sides.

    Rows first, then columns: the same as one square kernel, of which the wide ones asked for here
    would cost many times as much.
    """
    half = min(int(3 * sigma), images.shape[-1] - 1)
    places = torch.arange(-half, half + 1).to(images)
    kernel = torch.exp(-((places / sigma) ** 2) / 2)
    kernel = kernel / kernel.sum()
    wide = pad(images, (half,) * 4, mode="reflect")
    return conv2d(conv2d(wide, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))


def blurred(images: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(N, 1, S, S) blurred by a Gaussian of σ = S / 16: brightness stays, structure goes."""
    smooth = within(images, inside, partial(gaussian, sigma=images.shape[-1] / 16))
    return torch.where(inside, smooth, images)


def local_mean(images: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """(N, 1, S, S) with every pixel of an image the mean of the S / 3 square around it."""
    half = max(1, images.shape[-1] // 6)
    mean = partial(avg_pool2d, kernel_size=2 * half + 1, stride=1, padding=half)
    return torch.where(inside, within(images, inside, mean), images)


def fill_from(stand_in: torch.Tensor, images: torch.Tensor) -> Fill:
    """Fill what is gone, (N, 1, S, S) bool, from a fixed stand-in of the images."""
    return lambda gone: torch.where(gone, stand_in, images)


def fill_by_road(images: torch.Tensor, boxes: Sequence[Letterbox], seed: int) -> Fill:
    """Fill what is gone by noisy linear imputation (`road.imputed`) inside each image's box.

    A pixel has the same noise whatever else is gone, so that maps are compared under equal noise.
    """
    side = images.shape[-1]
    noise = ROAD_NOISE * numpy_generator(seed, "explain", "road").standard_normal((side, side))

    def fill(gone: torch.Tensor) -> torch.Tensor:
        out = images.clone()
        for i, box in enumerate(boxes):
            square, hole = images[i, 0][box.inner].numpy(), gone[i, 0][box.inner].numpy()
            out[i, 0][box.inner] = torch.from_numpy(imputed(square, hole, noise[box.inner]))
        return out

    return fill


FILLINGS = ("blur", "local_mean", "road")


def filling(name: str, images: torch.Tensor, boxes: Sequence[Letterbox], seed: int) -> Fill:
    """One of `FILLINGS` for these images (N, 1, S, S), of which padding is never part."""
    if name == "road":
        return fill_by_road(images, boxes, seed)
    stand_in = {"blur": blurred, "local_mean": local_mean}[name]
    return fill_from(stand_in(images, inside_of(boxes)), images)
