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

from sonobalance.classify.layout import TargetLayer
from sonobalance.classify.networks import AttentiveClassifier


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


def fine_layers(model: nn.Module, side: int) -> list[Layer]:
    """The feature maps before the last one with 1/8 to 1/4 of the input's resolution.

    Args:
        model: the network.
        side: side S of its input, pixels.

    Returns:
        Two layers for most convolutional networks (strides 4 and 8), none for a plain transformer.
    """
    if not isinstance(model, AttentiveClassifier):
        return []
    finest, coarsest, last = side / 4, side / 8, model.target_layer.module
    by_size = {
        stage.layout.height: stage
        for stage in model.stages
        if coarsest <= stage.layout.height <= finest
    }
    return [layer_of(stage) for stage in by_size.values() if stage.module is not last]
