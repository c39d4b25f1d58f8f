"""The evidence maps by name, all in one convention.

A map is signed float32 (N, 1, S, S): higher = more evidence for the named class, negative =
evidence against it, in the units of its method. Nothing is rescaled per image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from captum.attr import IntegratedGradients, Occlusion
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import interpolate

from sonobalance.data.images import Letterbox, unletterbox
from sonobalance.errors import InputError
from sonobalance.explanation.baselines import blurred
from sonobalance.explanation.cam import (
    Evidence,
    evidence_of,
    explaining,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
)
from sonobalance.explanation.layers import Layer

GATE = "attention-gate"
CAMS: dict[str, Callable[[Evidence], torch.Tensor]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "hirescam": hires_cam,
    "layer-cam": layer_cam,
}
SENTENCES = {
    "grad-cam": "Features of the last layer, weighted by how much the class score follows them.",
    "grad-cam++": "Grad-CAM whose weights look only at the places where the score rises.",
    "hirescam": "Features times gradients, place by place: what the class score adds up.",
    "layer-cam": "Features weighted place by place by the rises of the class score.",
    GATE: "Where the network's own spatial attention is above its mean; it knows no class.",
    "integrated-gradients": "Each pixel's share in the change from a blurred image to this one.",
    "occlusion": "How much the class score falls when a patch is blurred.",
}
HEAVY = ("integrated-gradients", "occlusion")


@dataclass(frozen=True)
class Cost:
    """How much work one pass may hold, and how fine the costly maps are.

    Attributes:
        batch_size: images in one pass, which bounds the memory.
        gradient_steps: points on the path of integrated gradients.
    """

    batch_size: int = 16
    gradient_steps: int = 24


def cheap_maps(
    model: nn.Module, layer: Layer, images: torch.Tensor, targets: torch.Tensor, cost: Cost
) -> dict[str, torch.Tensor]:
    """Every map that one forward pass gives: the class activation maps, and the gate if any.

    Args:
        model: (N, 1, S, S) → (N, K) logits.
        layer: last spatial feature map.
        images: (N, 1, S, S) float32 in [-1, 1].
        targets: (N,) int64 class whose evidence is mapped.
        cost: size of a pass.

    Returns:
        Name → (N, 1, S, S) float32 on the CPU.
    """
    device, side = device_of(model), images.shape[-1]
    parts: dict[str, list[torch.Tensor]] = {}
    with explaining(model):
        for some, wanted in _batches(images, targets, cost.batch_size):
            evidence = evidence_of(model, layer, some.to(device), wanted.to(device))
            found = {name: cam(evidence) for name, cam in CAMS.items()}
            gate = attention_gate(model)
            if gate is not None:
                found[GATE] = gate
            for name, value in found.items():
                parts.setdefault(name, []).append(_resized(value, side).float().cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def native_grids(
    model: nn.Module, layer: Layer, images: torch.Tensor, targets: torch.Tensor
) -> dict[str, tuple[int, int]]:
    """The (h, w) at which each cheap map is computed before it is resized to the input."""
    device = device_of(model)
    with explaining(model):
        features = evidence_of(model, layer, images.to(device), targets.to(device)).features
        gate = attention_gate(model)
    grids = dict.fromkeys(CAMS, (features.shape[2], features.shape[3]))
    return grids if gate is None else grids | {GATE: (gate.shape[2], gate.shape[3])}


def attention_gate(model: nn.Module) -> torch.Tensor | None:
    """The spatial gate of the latest forward pass less its mean, (N, 1, h, w); None without one."""
    gates = getattr(model, "gates", None)
    spatial = gates().spatial if callable(gates) else None
    if spatial is None:
        return None
    return cast("torch.Tensor", spatial - spatial.mean((2, 3), keepdim=True))


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

    return _attributed(model, images, targets, cost.batch_size, attribute)


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

    return _attributed(model, images, targets, 1, attribute)


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


def to_originals(maps: torch.Tensor, boxes: list[Letterbox]) -> list[NDArray[np.float32]]:
    """Maps (N, 1, S, S) in the geometry of the original images, N times (H, W)."""
    squares = maps[:, 0].numpy()
    return [unletterbox(square, box) for square, box in zip(squares, boxes, strict=True)]


def probabilities_of(model: nn.Module, images: torch.Tensor, batch_size: int) -> torch.Tensor:
    """(N, K) float32 softmax of the model on (N, 1, S, S) images, on the CPU."""
    device = device_of(model)
    with explaining(model), torch.no_grad():
        parts = [
            model(some.to(device)).softmax(1).float().cpu() for some in images.split(batch_size)
        ]
    return torch.cat(parts)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's tensors live."""
    tensor = next(model.parameters(), None)
    return torch.device("cpu") if tensor is None else tensor.device


def _attributed(
    model: nn.Module,
    images: torch.Tensor,
    targets: torch.Tensor,
    batch_size: int,
    attribute: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    device = device_of(model)
    with explaining(model):
        parts = [
            attribute(some.to(device), wanted.to(device)).detach().float().cpu()
            for some, wanted in _batches(images, targets, batch_size)
        ]
    return torch.cat(parts)


def _batches(images: torch.Tensor, targets: torch.Tensor, size: int) -> Any:
    return zip(images.split(size), targets.split(size), strict=True)


def _resized(value: torch.Tensor, side: int) -> torch.Tensor:
    return interpolate(value, size=(side, side), mode="bilinear", align_corners=False)
