"""The evidence maps by name, all in one convention.

A map is signed float32 (N, 1, S, S): higher = more evidence for the named class, negative =
evidence against it, in the units of its method. Nothing is rescaled per image. Two maps know no
class sign: the attention gate and the gradient energy. Where predictions
are the mean over an image and its left-right mirror, so is a map.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import interpolate

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.data.images import Letterbox, unletterbox
from sonobalance.explanation.baselines import blurred, gaussian, within
from sonobalance.explanation.cam import (
    Evidence,
    evidence_at,
    explaining,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
)
from sonobalance.explanation.inputs import Inputs
from sonobalance.explanation.layers import Layer, fine_layers

GATE = "attention-gate"
EXACT = "class-evidence"
FINE = "fine-hirescam"
ENERGY = "gradient-energy"
ENERGY_POINTS = (0.25, 0.75)
ENERGY_CELLS = 14  # a random map as coarse as its local mean has so many positions per side
OCCLUSION = "occlusion"
OCCLUSION_CELLS = 10  # positions of its window per side
CAMS: dict[str, Callable[[Evidence], torch.Tensor]] = {
    "grad-cam": grad_cam,
    "grad-cam++": grad_cam_plus_plus,
    "hirescam": hires_cam,
    "layer-cam": layer_cam,
}
SENTENCES = {
    EXACT: "What each place adds to the class score, exactly, by the network's lesion attention.",
    "grad-cam": "Features of the last layer, weighted by how much the class score follows them.",
    "grad-cam++": "Grad-CAM whose weights look only at the places where the score rises.",
    "hirescam": "Features times gradients, place by place: what the class score adds up.",
    "layer-cam": "Features weighted place by place by the rises of the class score.",
    FINE: "Where HiResCAM at two finer layers agrees: the geometric mean, with their common sign.",
    ENERGY: "Where small changes of the image change the class score most, for or against it.",
    GATE: "Where the network's own spatial attention is above its mean; it knows no class.",
    "integrated-gradients": "Each pixel's share in the change from a blurred image to this one.",
    OCCLUSION: "How much the class score falls when a patch is blurred.",
}


@dataclass(frozen=True)
class Cost:
    """How much work one pass may hold, and how much work a map may be.

    Attributes:
        batch_size: images in one pass, which bounds the memory.
        gradient_steps: points on the path of integrated gradients.
        mirror: average with the map of the left-right mirror, for networks that predict so.
    """

    batch_size: int = 16
    gradient_steps: int = 24
    mirror: bool = False


def cheap_maps(
    model: nn.Module, layer: Layer, inputs: Inputs, cost: Cost
) -> dict[str, torch.Tensor]:
    """Every map that a few passes give: activation maps, gate, exact evidence, gradient energy.

    Args:
        model: (N, 1, S, S) → (N, K) logits.
        layer: last spatial feature map.
        inputs: N images and their classes.
        cost: size of a pass.

    Returns:
        Name → (N, 1, S, S) float32 on the CPU.
    """
    fine = fine_layers(model, inputs.images.shape[-1])
    parts: dict[str, list[torch.Tensor]] = {}
    with explaining(model):
        for some in inputs.split(cost.batch_size, device_of(model)):
            found = _few_passes(model, layer, fine, some)
            if cost.mirror:
                other = _few_passes(model, layer, fine, some.mirrored())
                found = {name: (value + other[name].flip(3)) / 2 for name, value in found.items()}
            for name, value in found.items():
                parts.setdefault(name, []).append(value.float().cpu())
    return {name: torch.cat(values) for name, values in parts.items()}


def _few_passes(
    model: nn.Module, layer: Layer, fine: list[Layer], inputs: Inputs
) -> dict[str, torch.Tensor]:
    images, targets, _ = inputs
    side = images.shape[-1]
    *finer, last = evidence_at(model, [*fine, layer], images, targets)
    found = {name: _resized(cam(last), side) for name, cam in CAMS.items()}
    gate = attention_gate(model)
    if gate is not None:
        found[GATE] = _resized(gate, side)
    if finer:
        found[FINE] = _fine(finer, side)
    exact = exact_evidence(model, images, targets)
    if exact is not None:
        found = {EXACT: _resized(exact, side)} | found
    return found | {ENERGY: gradient_energy(model, inputs)}


def exact_evidence(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor | None:
    """The network's own account (N, 1, h, w) of a logit, place by place; None without one."""
    if not isinstance(model, AttentiveClassifier):
        return None
    with torch.no_grad():
        return model.evidence(images, targets)


def gradient_energy(model: nn.Module, inputs: Inputs) -> torch.Tensor:
    """Local mean of the squared gradient of the logit with respect to the image.

    SmoothGrad-squared (Hooker et al. 2019, section 4), but at points between the blurred image and
    the image instead of under noise, which in ultrasound looks like speckle. The local mean is a
    Gaussian of σ = S / 27. The map knows no sign: it is high where the decision hangs on the
    pixels, whichever way, and it is not multiplied by the image, so that bright places have no
    head start.

    Returns:
        (N, 1, S, S), at least 0, in logit² per unit of brightness².
    """
    images, targets, inside = inputs
    stand_in, parts = blurred(images, inside), []
    for share in ENERGY_POINTS:
        point = (stand_in + share * (images - stand_in)).requires_grad_()
        with torch.enable_grad():
            score = model(point).gather(1, targets[:, None]).sum()
            (gradient,) = torch.autograd.grad(score, point)
        parts.append(local_energy(gradient.detach(), inside))
    return torch.stack(parts).mean(0)


def local_energy(values: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
    """Local mean of the squares of (N, 1, S, S) values: a Gaussian of σ = S / 27."""
    return within(values**2, inside, partial(gaussian, sigma=values.shape[-1] / 27))


def fine_hirescam(
    model: nn.Module, images: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor | None:
    """The map `FINE` alone, (N, 1, S, S), for a model inside `explaining`; None without layers."""
    layers = fine_layers(model, images.shape[-1])
    return _fine(evidence_at(model, layers, images, targets), images.shape[-1]) if layers else None


def _fine(evidence: list[Evidence], side: int) -> torch.Tensor:
    return agreeing(*(_resized(hires_cam(e), side) for e in evidence))


def agreeing(*maps: torch.Tensor) -> torch.Tensor:
    """Signed geometric mean of maps of one shape where all have the same sign, else 0."""
    stacked = torch.stack(maps)
    size = stacked.abs().log().mean(0).exp()
    up, down = (stacked > 0).all(0), (stacked < 0).all(0)
    return size * (up.to(size) - down.to(size))


def native_grids(
    model: nn.Module, layer: Layer, images: torch.Tensor
) -> dict[str, tuple[int, int]]:
    """The (h, w) at which each map is computed before it is resized to the input.

    Maps that are computed pixel by pixel are not named.
    """
    device, targets = device_of(model), torch.zeros(len(images), dtype=torch.int64)
    with explaining(model):
        layers = [*fine_layers(model, images.shape[-1]), layer]
        *fine, last = evidence_at(model, layers, images.to(device), targets.to(device))
        gate = attention_gate(model)
        exact = exact_evidence(model, images.to(device), targets.to(device))
    grids = dict.fromkeys(CAMS, (last.features.shape[2], last.features.shape[3]))
    if exact is not None:
        grids[EXACT] = (exact.shape[2], exact.shape[3])
    grids |= {ENERGY: (ENERGY_CELLS,) * 2, OCCLUSION: (OCCLUSION_CELLS,) * 2}
    if fine:
        grids[FINE] = (fine[-1].features.shape[2], fine[-1].features.shape[3])
    return grids if gate is None else grids | {GATE: (gate.shape[2], gate.shape[3])}


def attention_gate(model: nn.Module) -> torch.Tensor | None:
    """The spatial gate of the latest forward pass less its mean, (N, 1, h, w); None without one."""
    gates = getattr(model, "gates", None)
    spatial = gates().spatial if callable(gates) else None
    if spatial is None:
        return None
    return cast("torch.Tensor", spatial - spatial.mean((2, 3), keepdim=True))


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


def _resized(value: torch.Tensor, side: int) -> torch.Tensor:
    return interpolate(value, size=(side, side), mode="bilinear", align_corners=False)
