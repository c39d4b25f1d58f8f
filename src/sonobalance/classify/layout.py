"""Where a timm network keeps its feature maps, and how they are laid out in memory.

Convolutional networks give (N, C, h, w), some transformers (N, h, w, C), others a row of tokens
(N, P + h·w, C) with P prefix tokens in front. One forward pass of a black image tells which.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from sonobalance.errors import SettingsError

LEVELS = 3  # last stages whose maps draw the lesion's outline
Kind = Literal["channels-first", "channels-last", "tokens"]


@dataclass(frozen=True)
class MapLayout:
    """How the output of one module becomes a feature map, and back.

    Attributes:
        module: dotted name of the module inside the backbone.
        channels: channels C of the map.
        kind: order of the axes.
        height, width: size h, w of the map for the image size of the network.
        prefix: tokens P in front of the map's own.
    """

    module: str
    channels: int
    kind: Kind
    height: int
    width: int
    prefix: int = 0

    def to_map(self, output: torch.Tensor) -> torch.Tensor:
        """The module's output (or its gradient) as (N, C, h, w)."""
        if self.kind == "channels-first":
            return output
        if self.kind == "channels-last":
            return output.permute(0, 3, 1, 2)
        grid = output[:, self.prefix :].transpose(1, 2)
        return grid.reshape(len(output), self.channels, self.height, self.width)

    def put_back(self, feature_map: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """A (N, C, h, w) map in the shape of `output`, whose prefix tokens are kept."""
        if self.kind == "channels-first":
            return feature_map
        if self.kind == "channels-last":
            return feature_map.permute(0, 2, 3, 1)
        return torch.cat([output[:, : self.prefix], feature_map.flatten(2).transpose(1, 2)], 1)


@dataclass(frozen=True)
class TargetLayer:
    """A layer whose output is a spatial feature map; the last one is what Grad-CAM looks at.

    Attributes:
        name: dotted name inside the backbone.
        module: the layer itself.
        layout: how its output lies in memory; `layout.to_map` gives (N, C, h, w).
    """

    name: str
    module: nn.Module
    layout: MapLayout


def chosen(layouts: Sequence[MapLayout], last: int, at: Sequence[int]) -> list[MapLayout]:
    """The stages with these numbers, in order, or the last so many.

    Raises:
        SettingsError: there is no such stage.
    """
    if at and max(at) >= len(layouts):
        raise SettingsError(
            f"Expected `classifier.attention_at` below {len(layouts)}, the stages of this backbone "
            f"that can be gated, but got {max(at)}; 0 is the first."
        )
    return [layouts[i] for i in sorted(set(at))] if at else list(layouts[-last:])


def find_layouts(
    backbone: Any, images: torch.Tensor, *, stages: bool = False
) -> tuple[list[MapLayout], MapLayout]:
    """The stages whose output can be gated, first to last, and the last spatial feature map.

    The last block of a network with class tokens is left out of both: its other tokens no longer
    reach the head. There the last map is the input of that block's attention.

    Args:
        backbone: a timm network.
        images: (1, 3, S, S) float32, any.
        stages: whether the network will be asked for its stages one by one
            (`forward_intermediates`): what holds them all is then never called itself.

    Raises:
        SettingsError: the network has no feature map that this function understands.
    """
    one_by_one = stages and hasattr(backbone, "forward_intermediates")
    shapes = _output_shapes(
        backbone, backbone.forward_intermediates if one_by_one else backbone, images
    )
    prefix = int(getattr(backbone, "num_prefix_tokens", 0))
    found = [
        layout
        for name, channels in _stages(backbone)
        if (layout := _layout_of(name, shapes.get(name, ()), channels, prefix)) is not None
    ]
    if not found:
        raise SettingsError(
            f"Expected a backbone to have feature maps, but {type(backbone).__name__} "
            "has none that are known here; choose a convolutional network or a plain transformer."
        )
    last = found[-1]
    if last.kind == "tokens":
        inner = _layout_of(f"{last.module}.norm1", shapes.get(f"{last.module}.norm1", ()),
                           last.channels, prefix)  # fmt: skip
        found = found[:-1] if last.prefix else found
        return found, inner or found[-1]
    if last.kind == "channels-last":
        return found, last
    return found, _last_map(shapes) or last


def last_features(backbone: Any, images: torch.Tensor) -> tuple[MapLayout, list[int]]:
    """Layout of the backbone's final map, and the channels of its last stages, finest first.

    Raises:
        SettingsError: the backbone does not give its intermediate maps.
    """
    if not hasattr(backbone, "forward_intermediates"):
        raise SettingsError(
            f"Expected a backbone with intermediate feature maps for lesion attention, but "
            f"{type(backbone).__name__} has none; set `classifier.lesion_attention` to false."
        )
    was_training = backbone.training
    with torch.no_grad():
        maps, levels = backbone.eval().forward_intermediates(images, indices=LEVELS)
    backbone.train(was_training)
    prefix = int(getattr(backbone, "num_prefix_tokens", 0))
    layout = _layout_of("", tuple(maps.shape), int(backbone.num_features), prefix)
    if layout is None:
        raise SettingsError(
            f"Expected a backbone with a final feature map for lesion attention, but "
            f"{type(backbone).__name__} gives {tuple(maps.shape)}; set "
            "`classifier.lesion_attention` to false."
        )
    return layout, [int(level.shape[1]) for level in levels]


def _stages(backbone: nn.Module) -> list[tuple[str, int]]:
    """Name and channels of each stage, from timm's own list."""
    info: Any = getattr(backbone, "feature_info", [])
    rows = info.info if hasattr(info, "info") else info
    return [(row["module"], row["num_chs"]) for row in rows]


def _output_shapes(
    backbone: nn.Module, work: Callable[[torch.Tensor], Any], images: torch.Tensor
) -> dict[str, tuple[int, ...]]:
    """Shape of each output of a module in this work, in the order in which the modules finish."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, torch.Tensor):
                shapes[name] = tuple(output.shape)

        return hook

    handles = [m.register_forward_hook(note(name)) for name, m in backbone.named_modules() if name]
    was_training = backbone.training
    try:
        with torch.no_grad():
            backbone.eval()
            work(images)
    finally:
        backbone.train(was_training)
        for handle in handles:
            handle.remove()
    return shapes


def _layout_of(name: str, shape: tuple[int, ...], channels: int, prefix: int) -> MapLayout | None:
    if len(shape) == 4 and shape[1] == channels:
        return MapLayout(name, channels, "channels-first", shape[2], shape[3])
    if len(shape) == 4 and shape[3] == channels:
        return MapLayout(name, channels, "channels-last", shape[1], shape[2])
    if len(shape) == 3 and shape[2] == channels:
        for skipped in (prefix, 0):
            side = math.isqrt(shape[1] - skipped)
            if side * side == shape[1] - skipped:
                return MapLayout(name, channels, "tokens", side, side, skipped)
    return None


def _last_map(shapes: dict[str, tuple[int, ...]]) -> MapLayout | None:
    """The last finished module whose output still has more than one position."""
    for name, shape in reversed(shapes.items()):
        if len(shape) == 4 and shape[2] * shape[3] > 1:
            return MapLayout(name, shape[1], "channels-first", shape[2], shape[3])
    return None
