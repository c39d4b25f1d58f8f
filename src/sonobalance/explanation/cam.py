"""Class activation maps: four ways to turn one layer's features and gradients into evidence.

All four need the same pair, features A and gradients g = ∂logit/∂A, so one forward pass and the
short backward pass above the layer serve them all. None ends in a ReLU: the sign is kept.
captum's LayerGradCam, whose numbers `grad_cam` equals, reads (N, C, h, w) layers only; this file
also reads the channels-last and token layouts of transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import nn

from sonobalance.errors import InputError
from sonobalance.explanation.layers import Layer


class Evidence(NamedTuple):
    """Features of a layer and the gradients of each image's logit with respect to them.

    Attributes:
        features, gradients: (N, C, h, w) float32.
    """

    features: torch.Tensor
    gradients: torch.Tensor


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
    return evidence_at(model, [layer], images, targets)[0]


def evidence_at(
    model: nn.Module, layers: Sequence[Layer], images: torch.Tensor, targets: torch.Tensor
) -> list[Evidence]:
    """`evidence_of` for several layers at the price of the earliest: one pass for all of them.

    Args:
        model: as for `evidence_of`.
        layers: in the order in which an image passes them.
        images: (N, 1, S, S) float32 in [-1, 1].
        targets: (N,) int64.

    Raises:
        InputError: the forward pass does not go through one of the layers.
    """
    seen: dict[int, torch.Tensor] = {}

    def watch(place: int) -> Callable[..., torch.Tensor]:
        def cut(_module: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
            seen[place] = output if place else output.detach().requires_grad_()
            return seen[place].clone()  # later layers may work in place

        return cut

    handles = [layer.module.register_forward_hook(watch(i)) for i, layer in enumerate(layers)]
    try:
        with torch.enable_grad():
            logits = model(images)
            for place, layer in enumerate(layers):
                _check_passed(layer, seen.get(place), logits)
            score = logits.gather(1, targets[:, None]).sum()
            gradients = torch.autograd.grad(
                score, [seen[place] for place in range(len(layers))], allow_unused=True
            )
    finally:
        for handle in handles:
            handle.remove()
    return [_evidence(layer, seen[place], gradients[place]) for place, layer in enumerate(layers)]


def _check_passed(layer: Layer, output: torch.Tensor | None, logits: torch.Tensor) -> None:
    if output is None or not output.requires_grad or not logits.requires_grad:
        raise InputError(
            f"Expected the logits to depend on layer {layer.name!r}, but they do not; "
            "choose a layer that every image passes."
        )


def _evidence(layer: Layer, features: torch.Tensor, gradient: torch.Tensor | None) -> Evidence:
    _check_passed(layer, None if gradient is None else features, features)
    assert gradient is not None  # noqa: S101 - just checked
    return Evidence(layer.to_map(features.detach()), layer.to_map(gradient))


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
