"""Which weights learn, how fast, and when: discriminative rates and a warmed-up cosine."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection
from typing import Any

import torch
from timm.models import group_parameters
from torch import nn

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.config import ClassifierSettings

PARTS = ("outline", "head", "body")
SETTLED = 0.1  # share of its rate that an outline keeps once it was learnt


def parameter_groups(
    model: AttentiveClassifier, settings: ClassifierSettings, *, pretrained: bool
) -> list[dict[str, Any]]:
    """Optimiser groups, with their peak learning rate as `peak_lr` and one of `PARTS` as `part`.

    Head and gates learn with `head_lr` (but a fitted head not at all when `fixed_head`), the
    outline with `outline_lr`, the backbone's last layer with `backbone_lr` and each layer before it
    `layer_decay` times slower; the first `frozen_share` of the layers does not learn. A backbone
    from scratch learns as a whole with `backbone_lr`. Biases and normalisations are not decayed.
    """
    depth = layer_depths(model)
    layers = 1 + max(value for value in depth.values() if value is not None)
    frozen = round(settings.frozen_share * layers) if pretrained else 0
    decay = settings.layer_decay if pretrained else 1.0
    members: dict[tuple[str, float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        layer = depth[name]
        weight_decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        if layer is None:
            part, lr = _above(name, settings, fitted=pretrained and settings.head_start == "probe")
            members[part, lr, weight_decay].append(parameter)
        elif layer >= frozen:
            lr = settings.backbone_lr * decay ** (layers - 1 - layer)
            members["body", lr, weight_decay].append(parameter)
        else:
            parameter.requires_grad_(False)
    return [
        {
            "params": params, "lr": lr, "peak_lr": lr, "weight_decay": weight_decay, "part": part,
            "settled": SETTLED if part == "outline" and pretrained else 1.0,
        }
        for (part, lr, weight_decay), params in members.items()
    ]  # fmt: skip


def _above(name: str, settings: ClassifierSettings, *, fitted: bool) -> tuple[str, float]:
    """Part and peak learning rate of a parameter that is no layer of the backbone's body."""
    if name.startswith("attention."):
        return "head", settings.head_lr
    if name.startswith("lesion.") and not name.startswith("lesion.classify."):
        return "outline", settings.outline_lr
    return "head", 0.0 if fitted and settings.fixed_head else settings.head_lr


def layer_depths(model: AttentiveClassifier) -> dict[str, int | None]:
    """Each parameter's layer in the backbone, 0 = nearest the image; None for head and gates."""
    backbone = model.backbone
    if hasattr(backbone, "group_matcher"):
        groups = group_parameters(backbone, backbone.group_matcher(coarse=True), reverse=True)
    else:
        children = {name: i for i, (name, _) in enumerate(backbone.named_children())}
        groups = {n: children.get(n.split(".")[0], 0) for n, _ in backbone.named_parameters()}
    head = backbone.get_classifier()
    own = {id(p) for p in head.parameters()} if isinstance(head, nn.Module) else set()
    return {
        name: groups[name.removeprefix("backbone.")]
        if name.startswith("backbone.") and id(parameter) not in own
        else None
        for name, parameter in model.named_parameters()
    }


def cosine_factor(step: int, steps: int, warmup_share: float) -> float:
    """Share of the peak learning rate at a step: linear rise, then half a cosine to zero.

    Source: Loshchilov & Hutter, ICLR 2017, eq. 5, without restarts.
    """
    warmup = round(warmup_share * steps)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def set_rates(
    optimizer: torch.optim.Optimizer, factor: float, learning: Collection[str] = PARTS
) -> None:
    """Set the learning rate of the parts that learn to `factor` of its peak; the others are still.

    While the backbone learns, the outline's rate is the share of that which its group settles at.
    """
    for group in optimizer.param_groups:
        learns = group["part"] in learning
        share = group["settled"] if "body" in learning else 1.0
        group["lr"] = factor * share * group["peak_lr"] if learns else 0.0
        for parameter in group["params"]:
            parameter.requires_grad_(learns)


def training_mode(
    model: AttentiveClassifier, *, frozen_statistics: bool, learning: Collection[str] = PARTS
) -> None:
    """Put a model into training mode, with a pretrained backbone's batch statistics left alone.

    Args:
        model: changed in place.
        frozen_statistics: batch normalisation uses and keeps the statistics it came with.
        learning: without `body` the backbone stays in evaluation mode, nothing in it is dropped.
    """
    model.train()
    if "body" not in learning:
        model.backbone.eval()
    if frozen_statistics:
        for module in model.backbone.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


@torch.no_grad()
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Move an averaged model towards `model`: a ← decay·a + (1 - decay)·m; counters are copied."""
    for mean, value in zip(average.parameters(), model.parameters(), strict=True):
        if value.requires_grad:
            mean.lerp_(value, 1 - decay)
    for kept, buffer in zip(average.buffers(), model.buffers(), strict=True):
        if buffer.is_floating_point():
            kept.lerp_(buffer, 1 - decay)
        else:
            kept.copy_(buffer)
