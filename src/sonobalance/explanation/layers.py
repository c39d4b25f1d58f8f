"""Which layers of a network class activation maps look at, found without being told.

Every timm backbone names its stages, and `classify.layout` knows how each one's output lies in
memory. The last spatial map is the default; it may be coarse (5 × 5 positions at an input of
160 px), so the finer maps of earlier stages can be had as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from sonobalance.classify.networks import AttentiveClassifier, TargetLayer


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


def layer_of(target: Layer | TargetLayer | tuple[str, nn.Module]) -> Layer:
    """The layer from a classifier's `target_layer`, or from a name and any (N, C, h, w) module."""
    if isinstance(target, Layer):
        return target
    if isinstance(target, TargetLayer):
        return Layer(target.name, target.module, target.layout.to_map)
    return Layer(*target)


def stage_layers(model: nn.Module) -> list[Layer]:
    """The deepest feature map of each size, finest first, gates included.

    Returns:
        As many layers as the backbone has resolutions: five for most convolutional networks, one
        for a plain transformer, none for a network that is no `AttentiveClassifier`.
    """
    if not isinstance(model, AttentiveClassifier):
        return []
    by_size = {(stage.layout.height, stage.layout.width): stage for stage in model.stages}
    last = model.target_layer
    by_size[last.layout.height, last.layout.width] = last
    return [layer_of(stage) for stage in by_size.values()]
