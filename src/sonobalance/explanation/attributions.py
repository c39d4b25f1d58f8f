"""The costly maps, which ask the network many times about one image.

Memory is bounded by `Cost.batch_size`: no pass holds more images than that, however many images are
given and however many points their paths have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from captum.attr import IntegratedGradients, Occlusion
from torch import nn

from sonobalance.errors import InputError
from sonobalance.explanation.baselines import blurred
from sonobalance.explanation.cam import explaining
from sonobalance.explanation.maps import Cost, batches, device_of

HEAVY = ("integrated-gradients", "occlusion")


def integrated_gradients(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, cost: Cost
) -> torch.Tensor:
    """Sundararajan et al. 2017, equation 1, from the blurred image to the image, by captum.

    A black baseline would call every dark pixel, and so most lesions, no evidence by definition.
    The map of an image sums to logit(image) - logit(blurred image).

    Returns:
        (N, 1, S, S) float32 on the CPU.
    """
    method = IntegratedGradients(model)

    def attribute(some: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", method.attribute(
            some, baselines=blurred(some), target=wanted, n_steps=cost.gradient_steps,
            internal_batch_size=max(cost.batch_size, len(some)),
        ))  # fmt: skip

    return _attributed(model, images, targets, attribute, cost.batch_size, mirror=cost.mirror)


def occlusion(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor, cost: Cost
) -> torch.Tensor:
    """Zeiler & Fergus 2014, by captum: fall of the logit when a square of side S / 7 is blurred.

    Squares move by S / 10; each pixel has the mean over the squares that cover it.

    Returns:
        (N, 1, S, S) float32 on the CPU.
    """
    method, side = Occlusion(model), images.shape[-1]
    window, stride = max(1, side // 7), max(1, side // 10)

    def attribute(some: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return cast("torch.Tensor", method.attribute(
            some, sliding_window_shapes=(1, window, window), strides=(1, stride, stride),
            baselines=blurred(some), target=wanted, perturbations_per_eval=cost.batch_size,
        ))  # fmt: skip

    return _attributed(model, images, targets, attribute, 1, mirror=cost.mirror)


def heavy_map(
    name: str, model: nn.Module, images: torch.Tensor, targets: torch.Tensor, cost: Cost
) -> torch.Tensor:
    """A map of `HEAVY` by its name.

    Raises:
        InputError: there is no such map.
    """
    methods = {"integrated-gradients": integrated_gradients, "occlusion": occlusion}
    if name not in methods:
        raise InputError(f"Expected a map of {', '.join(methods)}, but got {name!r}.")
    return methods[name](model, images, targets, cost)


def _attributed(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    attribute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    batch_size: int,
    *,
    mirror: bool,
) -> torch.Tensor:
    device = device_of(model)
    parts = []
    with explaining(model):
        for some, wanted in batches(images, targets, batch_size):
            given = some.to(device), wanted.to(device)
            found = attribute(*given)
            if mirror:
                found = (found + attribute(given[0].flip(3), given[1]).flip(3)) / 2
            parts.append(found.detach().float().cpu())
    return torch.cat(parts)
