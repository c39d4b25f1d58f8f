"""Any timm backbone as a grey-scale classifier with attention gates behind its last stages."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import Any, NamedTuple

import timm
import torch
from torch import nn

from sonobalance.classify.attention import Gates
from sonobalance.classify.layout import MapLayout, find_layouts
from sonobalance.config import Attention
from sonobalance.errors import InputError, SettingsError


class GateMaps(NamedTuple):
    """What the gates did in the latest forward pass; None where the kind is not in use.

    Attributes:
        channel: (N, C) gates of the last gated stage, in (0, 2).
        spatial: (N, 1, h, w) product of the spatial gates of all gated stages, on the finest grid.
    """

    channel: torch.Tensor | None
    spatial: torch.Tensor | None


@dataclass(frozen=True)
class TargetLayer:
    """The layer whose output is the last spatial feature map: what Grad-CAM looks at.

    Attributes:
        name: dotted name inside the backbone.
        module: the layer itself.
        layout: how its output lies in memory; `layout.to_map` gives (N, C, h, w).
    """

    name: str
    module: nn.Module
    layout: MapLayout


class AttentiveClassifier(nn.Module):
    """A timm network with its own head, its own input statistics and optional gates.

    The gates sit in forward hooks of chosen stages, so parameter names stay timm's own and a
    network without gates is exactly the timm model. Activations never work in place, so that
    gradient-based maps see every layer's true output.

    Args:
        backbone: name of a timm model.
        classes: number of classes K.
        attention: which gates follow the chosen stages.
        image_size_px: side S of the input.
        attention_stages: how many stages get gates, counted from the last.
        dropout: chance of dropping a pooled feature in training.
        pretrained: let timm download its ImageNet weights.

    Attributes:
        mean, std: (1, 3, 1, 1) float32 statistics that the backbone's inputs are standardised by.
        target_layer: the last spatial feature map.
        gated: name of each gated stage → its gates.

    Raises:
        SettingsError: timm has no such model, or the model cannot take images of this size.
        InputError: the download failed.
    """

    backbone: Any  # a timm model, whose classes are not typed
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        backbone: str,
        classes: int,
        attention: Attention = "none",
        image_size_px: int = 224,
        *,
        attention_stages: int = 2,
        dropout: float = 0.0,
        pretrained: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = make_backbone(
            backbone, classes, image_size_px, dropout=dropout, pretrained=pretrained
        )
        cfg = self.backbone.pretrained_cfg
        self.register_buffer("mean", torch.tensor(cfg["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(cfg["std"]).view(1, 3, 1, 1))
        layouts, target = find_layouts(self.backbone, self._to_rgb, image_size_px)
        self.target_layer = TargetLayer(
            target.module, self.backbone.get_submodule(target.module), target
        )
        self.gated: dict[str, Gates] = {}
        self.attention = nn.ModuleList()
        for layout in layouts[-attention_stages:] if attention != "none" else []:
            self._gate(layout, attention)
        self.to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 1, S, S) float32 in [-1, 1] → (N, K) logits."""
        logits: torch.Tensor = self.backbone(self._to_rgb(images))
        return logits

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 1, S, S) float32 in [-1, 1] → (N, F) pooled features, the input of the head."""
        maps = self.backbone.forward_features(self._to_rgb(images))
        pooled: torch.Tensor = self.backbone.forward_head(maps, pre_logits=True)
        return pooled.flatten(1)

    @property
    def head(self) -> nn.Linear | None:
        """The linear layer between features and logits; None where timm's head is another kind."""
        head = self.backbone.get_classifier()
        return head if isinstance(head, nn.Linear) else None

    def gates(self) -> GateMaps:
        """Gate maps of the latest forward pass."""
        channels = [g.channel.last for g in self.gated.values() if g.channel is not None]
        spatials = [g.spatial.last for g in self.gated.values() if g.spatial is not None]
        channel = channels[-1].flatten(1) if channels and channels[-1] is not None else None
        seen = [gate for gate in spatials if gate is not None]
        return GateMaps(channel, _product(seen) if seen else None)

    def _to_rgb(self, images: torch.Tensor) -> torch.Tensor:
        """Grey in [-1, 1] → three equal channels standardised by the backbone's own statistics."""
        rgb = ((images + 1) / 2 - self.mean) / self.std
        return rgb.contiguous(memory_format=torch.channels_last)

    def _gate(self, layout: MapLayout, attention: Attention) -> None:
        gates = Gates(layout.channels, attention)
        self.attention.append(gates)
        self.gated[layout.module] = gates
        stage = self.backbone.get_submodule(layout.module)
        stage.register_forward_hook(partial(_apply_gates, gates, layout))


def make_backbone(
    name: str, classes: int, image_size_px: int, *, dropout: float = 0.0, pretrained: bool = False
) -> nn.Module:
    """A timm model whose activations do not work in place.

    Raises:
        SettingsError: timm has no such model, or the model cannot take images of this size.
        InputError: the download failed.
    """
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=3)
        hint = f"; near: {', '.join(near)}." if near else "."
        raise SettingsError(
            f"Expected `classifier.backbone` to be a timm model, but got {name!r}{hint}"
        )
    create = partial(
        timm.create_model, name, pretrained=pretrained, num_classes=classes, drop_rate=dropout
    )
    try:
        model = _sized(create, image_size_px)
    except AssertionError as error:
        raise SettingsError(
            f"Expected `classifier.image_size_px` to suit {name}, but {image_size_px} does not "
            f"({error})."
        ) from None
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"Expected to download the weights of {name}, but {str(error).splitlines()[0]}; give a "
            "local file as `classifier.weights` instead."
        ) from error
    for module in model.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]
    return model


def _sized(create: partial[nn.Module], image_size_px: int) -> nn.Module:
    """Transformers must be told the image size; convolutional networks do not know the word."""
    try:
        return create(img_size=image_size_px)
    except TypeError:
        return create()


def _apply_gates(
    gates: Gates, layout: MapLayout, _module: nn.Module, _inputs: Any, output: torch.Tensor
) -> torch.Tensor:
    return layout.put_back(gates(layout.to_map(output)), output)


def _product(gates: list[torch.Tensor]) -> torch.Tensor:
    """The product of maps of several resolutions on the finest of their grids."""
    finest = max((gate.shape[-2:] for gate in gates), key=lambda size: size[0] * size[1])
    resized = [
        nn.functional.interpolate(gate, size=finest, mode="bilinear", align_corners=False)
        for gate in gates
    ]
    return torch.stack(resized).prod(0)
