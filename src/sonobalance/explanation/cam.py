"""Class activation maps: four ways to turn one layer's features and gradients into evidence.

All four need the same pair, features A and gradients g = ∂logit/∂A, so one forward pass and the
short backward pass above the layer serve them all. None ends in a ReLU: the sign is kept.
captum's LayerGradCam, whose numbers `grad_cam` equals, reads (N, C, h, w) layers only; this file
also reads the channels-last and token layouts of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from sonobalance.classify.networks import TargetLayer
from sonobalance.errors import InputError


def _as_it_is(output: torch.Tensor) -> torch.Tensor:
    return output


@dataclass(frozen=True)
class Layer:
    """The layer that class activation maps look at.

    Attributes:
        name: what reports call it.
        module: the module whose output is read.
        to_map: brings that output, or its gradient, to (N, C, h, w).
    """

    name: str
    module: nn.Module
    to_map: Callable[[torch.Tensor], torch.Tensor] = _as_it_is


class Evidence(NamedTuple):
    """Features of a layer and the gradients of each image's logit with respect to them.

    Attributes:
        features, gradients: (N, C, h, w) float32.
    """

    features: torch.Tensor
    gradients: torch.Tensor


def layer_of(target: Layer | TargetLayer | tuple[str, nn.Module]) -> Layer:
    """The layer from a classifier's `target_layer`, or from a name and any (N, C, h, w) module."""
    if isinstance(target, Layer):
        return target
    if isinstance(target, TargetLayer):
        return Layer(target.name, target.module, target.layout.to_map)
    return Layer(*target)


@contextmanager
def explaining(model: nn.Module) -> Iterator[None]:
    """Evaluation mode with frozen weights, so that no graph is built below the explained layer."""
    training, learning = model.training, [p for p in model.parameters() if p.requires_grad]
    model.eval().requires_grad_(False)
    try:
        yield
    finally:
        model.train(training)
        for parameter in learning:
            parameter.requires_grad_(True)


def evidence_of(
    model: nn.Module, layer: Layer, images: torch.Tensor, targets: torch.Tensor
) -> Evidence:
    """One forward pass, and the backward pass from each image's logit down to the layer.

    Args:
        model: (N, 1, S, S) → (N, K) logits; inside `explaining`.
        layer: where to look.
        images: (N, 1, S, S) float32 in [-1, 1].
        targets: (N,) int64 class whose logit is explained.

    Raises:
        InputError: the forward pass does not go through the layer.
    """
    seen: list[torch.Tensor] = []

    def cut(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
        seen.append(output.detach().requires_grad_())
        return seen[-1].clone()  # later layers may work in place

    handle = layer.module.register_forward_hook(cut)
    try:
        with torch.enable_grad():
            logits = model(images)
            if not seen or not logits.requires_grad:
                raise InputError(
                    f"Expected the logits to depend on layer {layer.name!r}, but they do not; "
                    "choose a layer that every image passes."
                )
            score = logits.gather(1, targets[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, seen[-1])
    finally:
        handle.remove()
    return Evidence(layer.to_map(seen[-1].detach()), layer.to_map(gradient))


def grad_cam(evidence: Evidence) -> torch.Tensor:
    """Selvaraju et al. 2017, equations 1 and 2 without the ReLU: Σ_c mean(g_c) · A_c.

    Returns:
        (N, 1, h, w), as do the other maps of this file.
    """
    weights = evidence.gradients.mean((2, 3), keepdim=True)
    return (weights * evidence.features).sum(1, keepdim=True)


def grad_cam_plus_plus(evidence: Evidence) -> torch.Tensor:
    """Chattopadhay et al. 2018, equations 10 and 19, without the final ReLU.

    The class score is exp(logit), whose derivatives are powers of g; the factor exp(logit), one
    number per image, is left out of the weights.
    """
    features, g = evidence
    below = 2 * g**2 + features.sum((2, 3), keepdim=True) * g**3
    alpha = torch.where(below != 0, g**2 / torch.where(below != 0, below, 1), 0)
    weights = (alpha * g.relu()).sum((2, 3), keepdim=True)
    return (weights * features).sum(1, keepdim=True)


def hires_cam(evidence: Evidence) -> torch.Tensor:
    """Draelos & Carin 2020, equation 4: Σ_c g_c ⊙ A_c, exact where the head is linear."""
    return (evidence.gradients * evidence.features).sum(1, keepdim=True)


def layer_cam(evidence: Evidence) -> torch.Tensor:
    """Jiang et al. 2021, equations 6 and 7, without the final ReLU: Σ_c max(g_c, 0) ⊙ A_c."""
    return (evidence.gradients.relu() * evidence.features).sum(1, keepdim=True)
