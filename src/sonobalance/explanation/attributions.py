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
from sonobalance.explanation.inputs import Inputs
from sonobalance.explanation.maps import OCCLUSION, OCCLUSION_CELLS, Cost, device_of

HEAVY = ("integrated-gradients", OCCLUSION)


def integrated_gradients(model: nn.Module, inputs: Inputs, cost: Cost) -> torch.Tensor:
    """Sundararajan et al. 2017, equation 1, from the blurred image to the image, by captum.

    A black baseline would call every dark pixel, and so most lesions, no evidence by definition.
    The map of an image sums to logit(image) - logit(blurred image).

    Returns:
        (N, 1, S, S) float32 on the CPU.
    """
    method = IntegratedGradients(model)

    def attribute(some: Inputs) -> torch.Tensor:
        return cast("torch.Tensor", method.attribute(
            some.images, baselines=blurred(some.images, some.inside), target=some.targets,
            n_steps=cost.gradient_steps,
            internal_batch_size=max(cost.batch_size, len(some.images)),
        ))  # fmt: skip

    return _attributed(model, inputs, attribute, cost.batch_size, mirror=cost.mirror)


def occlusion(model: nn.Module, inputs: Inputs, cost: Cost) -> torch.Tensor:
    """Zeiler & Fergus 2014, by captum: fall of the logit when a square of side S / 7 is blurred.

    Squares move by S / 10; each pixel has the mean over the squares that cover it.

    Returns:
        (N, 1, S, S) float32 on the CPU.
    """
    method, side = Occlusion(model), inputs.images.shape[-1]
    window, stride = max(1, side // 7), max(1, side // OCCLUSION_CELLS)

    def attribute(some: Inputs) -> torch.Tensor:
        return cast("torch.Tensor", method.attribute(
            some.images, sliding_window_shapes=(1, window, window), strides=(1, stride, stride),
            baselines=blurred(some.images, some.inside), target=some.targets,
            perturbations_per_eval=cost.batch_size,
        ))  # fmt: skip

    return _attributed(model, inputs, attribute, 1, mirror=cost.mirror)


def heavy_map(name: str, model: nn.Module, inputs: Inputs, cost: Cost) -> torch.Tensor:
    """A map of `HEAVY` by its name.

    Raises:
        InputError: there is no such map.
    """
    methods = {"integrated-gradients": integrated_gradients, OCCLUSION: occlusion}
    if name not in methods:
        raise InputError(f"Expected a map of {', '.join(methods)}, but got {name!r}.")
    return methods[name](model, inputs, cost)


def _attributed(
    model: nn.Module,
    inputs: Inputs,
    attribute: Callable[[Inputs], torch.Tensor],
    batch_size: int,
    *,
    mirror: bool,
) -> torch.Tensor:
    parts = []
    with explaining(model):
        for some in inputs.split(batch_size, device_of(model)):
            found = attribute(some)
            if mirror:
                found = (found + attribute(some.mirrored()).flip(3)) / 2
            parts.append(found.detach().float().cpu())
    return torch.cat(parts)
