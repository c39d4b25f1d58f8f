"""Any timm backbone as a grey-scale classifier with attention gates behind its last stages."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import nn

from sonobalance.classify.attention import GateMaps, Gates, apply_gates, product
from sonobalance.classify.backbones import make_backbone, meant_in_place
from sonobalance.classify.layout import (
    MapLayout,
    TargetLayer,
    chosen,
    find_layouts,
    last_features,
)  # fmt: skip
from sonobalance.classify.lesion import LesionHead, spread
from sonobalance.classify.zoom import Part, lesion_centres, middles, on_grid
from sonobalance.config import Attention, ZoomOn


class Seen(NamedTuple):
    """One forward pass of a network with lesion attention.

    Attributes:
        maps: what `forward_features` of the backbone gives.
        features: the same as (N, F, h, w).
        levels: (N, C_i, h_i, w_i) maps of the last stages, finest first.
        outline: (N, 1, H, W) logits of the lesion, on the grid of the finest.
    """

    maps: torch.Tensor
    features: torch.Tensor
    levels: list[torch.Tensor]
    outline: torch.Tensor


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
        attention_at: the stages that get gates, 0 being the first; empty for `attention_stages`.
        dropout: chance of dropping a pooled feature in training.
        pretrained: let timm download its ImageNet weights.
        lesion_attention: add a `LesionHead`: an outline decoder and pooling over the outline.
        partners: backbones of further networks; logits are the mean of all (an ensemble in one).
        zoom: logits are also the mean of those of the image and of a part enlarged by this.
        zoom_on: what that part is the surroundings of; the middle where there is no lesion head.

    Attributes:
        name: of the backbone.
        lesion: the lesion head; None without `lesion_attention`.
        partners: the further networks; features, gates and layers are those of the first alone.
        mean, std: (1, 3, 1, 1) float32 statistics that the backbone's inputs are standardised by.
        target_layer: the last spatial feature map; `stages`: those that each stage ends with.
        last_layout: layout of the map that the head reads; with lesion attention only.
        gated: name of each gated stage → its gates.

    Raises:
        SettingsError: timm has no such model, the model cannot take images of this size, has no
            such stage, or does not give its feature maps for lesion attention.
        InputError: the download failed.
    """

    backbone: Any  # a timm model, whose classes are not typed
    mean: torch.Tensor
    std: torch.Tensor
    last_layout: MapLayout

    def __init__(
        self,
        backbone: str,
        classes: int,
        attention: Attention = "none",
        image_size_px: int = 224,
        *,
        attention_stages: int = 2,
        attention_at: Sequence[int] = (),
        dropout: float = 0.0,
        pretrained: bool = False,
        lesion_attention: bool = False,
        partners: Sequence[str] = (),
        zoom: float = 1.0,
        zoom_on: ZoomOn = "middle",
    ) -> None:
        super().__init__()
        self.name, self.zoom, self.zoom_on = backbone, zoom, zoom_on
        self.backbone = make_backbone(
            backbone, classes, image_size_px, dropout=dropout, pretrained=pretrained
        )
        cfg = self.backbone.pretrained_cfg
        self.register_buffer("mean", torch.tensor(cfg["mean"]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(cfg["std"]).view(1, 3, 1, 1))
        black = self._to_rgb(torch.zeros(1, 1, image_size_px, image_size_px))
        layouts, target = find_layouts(self.backbone, black, stages=lesion_attention)
        self.target_layer = self._layer(target)
        self.stages = tuple(self._layer(layout) for layout in layouts)
        self.gated: dict[str, Gates] = {}
        self.attention = nn.ModuleList()
        if attention != "none":
            for layout in chosen(layouts, attention_stages, attention_at):
                self._gate(layout, attention)
        self.lesion: LesionHead | None = None
        if lesion_attention:
            self._attend(black, classes, dropout)
        self.partners = nn.ModuleList(
            AttentiveClassifier(
                name, classes, attention, image_size_px, attention_stages=attention_stages,
                attention_at=attention_at, dropout=dropout, lesion_attention=lesion_attention,
            )
            for name in partners
        )  # fmt: skip
        self.to(memory_format=torch.channels_last)

    @cached_property
    def overwriting(self) -> list[Any]:
        """Modules that may overwrite their input; looked for once, as that takes milliseconds."""
        return meant_in_place(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 1, S, S) float32 in [-1, 1] → (N, K) logits."""
        near = self._near(images)  # first: what layers gave last is then of the whole image
        return self._mean(self._with_partners(self.decide(images)[0], images), near)

    def decide(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits (N, K) and those (N, 1, H, W) of the lesion's outline if any; without partners."""
        if self.lesion is None:
            return self.backbone(self._to_rgb(images)), None
        seen = self._look(images)
        logits = self.backbone.forward_head(seen.maps)
        return logits + self.lesion(seen.levels, seen.features, seen.outline), seen.outline

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 1, S, S) float32 in [-1, 1] → (N, F) pooled features, which decide the logits.

        With lesion attention the mean over the image is followed by the lesion head's averages.
        """
        return self._own(images)[1]

    def evidence(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor | None:
        """What each place adds to the logit of a class; None where that cannot be told.

        Evidence of partners and of the enlarged part is averaged as their logits are. It is known
        for networks with lesion attention whose head is linear on averaged features.

        Args:
            images: (N, 1, S, S) float32 in [-1, 1].
            targets: (N,) int64 classes.

        Returns:
            (N, 1, H, W) float32; its sum and the class's bias make the logit.
        """
        whole = self._evidence(images, targets)
        if whole is None or self.zoom == 1:
            return whole
        part = self._part(images)
        near = self._evidence(part.enlarged(images), targets)
        return near if near is None else (whole + part.laid_back(near)) / 2

    def _evidence(self, images: torch.Tensor, targets: torch.Tensor) -> torch.Tensor | None:
        """Evidence of one look."""
        if self.lesion is None or self.head is None:
            return None
        seen = self._look(images)
        read, averages = self._averaged(seen.maps), seen.features.mean((2, 3))
        if read.shape != averages.shape or not torch.allclose(read, averages, atol=1e-4):
            return None
        whole = spread(seen.features, self.head.weight[targets], seen.outline.shape[-2:])
        own = whole + self.lesion.evidence(seen.levels, seen.features, seen.outline, targets)
        partner: Any
        for partner in self.partners:
            theirs = partner.evidence(images, targets)
            if theirs is None:
                return None
            own = own + on_grid(theirs, own.shape[-2:])
        return own / (1 + len(self.partners))

    def set_head(self, weight: torch.Tensor, bias: torch.Tensor) -> bool:
        """Take over a linear classifier (K, F), (K,) of `features`; False where none fits."""
        head = self.head
        layers = [head, self.lesion.classify] if self.lesion else [head]
        known = [layer for layer in layers if layer is not None]
        if head is None or head.bias is None or len(known) != len(layers):
            return False
        widths = [layer.in_features for layer in known]
        if weight.shape[1] != sum(widths):
            return False
        with torch.no_grad():
            head.bias.copy_(bias)
            for layer, part in zip(known, weight.split(widths, dim=1), strict=True):
                layer.weight.copy_(part)
        return True

    def logits_and_features(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, 1, S, S) float32 in [-1, 1] → logits (N, K), and features (N, F) of the whole."""
        near = self._near(images)
        logits, features = self._own(images)
        return self._mean(self._with_partners(logits, images), near), features

    @property
    def blocks(self) -> tuple[int, ...]:
        """How `features` divides into parts of one kind: their widths, in order."""
        read = self.head.in_features if self.head else self.backbone.num_features
        if self.lesion is None:
            return (read,)
        *levels, last = self.lesion.channels
        return (read, *(c for c in levels for _ in range(4)), last)

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
        return GateMaps(channel, product(seen) if seen else None)

    def _own(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and features of one look, without partners."""
        if self.lesion is None:
            maps = self.backbone.forward_features(self._to_rgb(images))
            return self.backbone.forward_head(maps), self._averaged(maps)
        seen = self._look(images)
        averages = self.lesion.averages(seen.levels, seen.features, seen.outline)
        logits = self.backbone.forward_head(seen.maps) + self.lesion.classify(averages)
        return logits, torch.cat([self._averaged(seen.maps), averages], 1)

    def _near(self, images: torch.Tensor) -> torch.Tensor | None:
        """Logits of the enlarged part; None where that is not looked at."""
        if self.zoom == 1:
            return None
        near = self._part(images).enlarged(images)
        return self._with_partners(self.decide(near)[0], near)

    def _part(self, images: torch.Tensor) -> Part:
        """The part of each image that is looked at enlarged."""
        centres = middles(images)
        if self.zoom_on == "lesion" and self.lesion is not None:
            with torch.no_grad():
                centres = lesion_centres(self._look(images).outline)
        return Part.around(centres, self.zoom, images.shape[-1])

    @staticmethod
    def _mean(logits: torch.Tensor, near: torch.Tensor | None) -> torch.Tensor:
        return logits if near is None else (logits + near) / 2

    def _with_partners(self, logits: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """The mean of these logits and those of the partners."""
        for partner in self.partners:
            logits = logits + partner(images)
        return logits / (1 + len(self.partners)) if len(self.partners) else logits

    def _to_rgb(self, images: torch.Tensor) -> torch.Tensor:
        """Grey in [-1, 1] → three equal channels standardised by the backbone's own statistics."""
        rgb = ((images + 1) / 2 - self.mean) / self.std
        return rgb.contiguous(memory_format=torch.channels_last)

    def _averaged(self, maps: torch.Tensor) -> torch.Tensor:
        averaged: torch.Tensor = self.backbone.forward_head(maps, pre_logits=True)
        return averaged.flatten(1)

    def _look(self, images: torch.Tensor) -> Seen:
        if self.lesion is None:
            raise RuntimeError("There is no lesion attention in this network.")
        levels = len(self.lesion.lateral)
        maps, seen = self.backbone.forward_intermediates(self._to_rgb(images), indices=levels)
        return Seen(maps, self.last_layout.to_map(maps), seen, self.lesion.outline(seen))

    def _attend(self, black: torch.Tensor, classes: int, dropout: float) -> None:
        """Add the lesion head, fitted to the last maps of the backbone."""
        self.last_layout, channels = last_features(self.backbone, black)
        self.lesion = LesionHead(channels, self.last_layout.channels, classes, dropout)

    def _layer(self, layout: MapLayout) -> TargetLayer:
        return TargetLayer(layout.module, self.backbone.get_submodule(layout.module), layout)

    def _gate(self, layout: MapLayout, attention: Attention) -> None:
        gates = Gates(layout.channels, attention)
        self.attention.append(gates)
        self.gated[layout.module] = gates
        stage = self.backbone.get_submodule(layout.module)
        stage.register_forward_hook(partial(apply_gates, gates, layout))
