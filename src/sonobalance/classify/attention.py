"""Channel and spatial gates (CBAM) that start as the identity, so pretrained features survive.

Source: Woo, Park, Lee & Kweon, "CBAM: Convolutional Block Attention Module", ECCV 2018. The paper's
gate is sigmoid(s), which halves every feature of a fresh network. Here a gate is 2·sigmoid(s) and
the last layer that computes s is zero at the start: 2·sigmoid(0) = 1 exactly, so a pretrained
backbone with fresh gates gives the very numbers it gave without them, and a gate may amplify (up
to 2) as well as silence (down to 0). The summaries that a gate looks at are standardised per image,
without parameters: the features of backbones differ in size by orders of magnitude, and a gate
must learn equally fast on all of them (the paper's spatial gate has batch normalisation instead).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from timm.layers import create_attn
from torch import nn
from torch.nn.functional import layer_norm

from sonobalance.classify.layout import MapLayout
from sonobalance.config import Attention


class GateMaps(NamedTuple):
    """What the gates did in the latest forward pass; None where the kind is not in use.

    Attributes:
        channel: (N, C) gates of the last gated stage, in (0, 2).
        spatial: (N, 1, h, w) product of the spatial gates of all gated stages, on the finest grid.
    """

    channel: torch.Tensor | None
    spatial: torch.Tensor | None


class ChannelGate(nn.Module):
    """Which feature channels matter (Woo et al. 2018, eq. 2).

    s = MLP(average over the map) + MLP(maximum over the map), with one shared two-layer MLP, each
    summary standardised over the channels.

    Args:
        channels: channels of the feature map.
        reduction: the hidden layer has `channels / reduction` units, at least 8.

    Attributes:
        last: (N, C, 1, 1) gate of the latest forward pass, in (0, 2); None before the first.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(8, channels // reduction)
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.act = nn.ReLU()
        self.expand = nn.Conv2d(hidden, channels, 1, bias=False)
        nn.init.zeros_(self.expand.weight)
        self.last: torch.Tensor | None = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) → the same shape, each channel multiplied by its gate."""
        mean = standardised(features.mean((2, 3), keepdim=True))
        peak = standardised(features.amax((2, 3), keepdim=True))
        scores = self.expand(self.act(self.reduce(mean))) + self.expand(self.act(self.reduce(peak)))
        gate = 2 * torch.sigmoid(scores)
        _remember(self, gate)
        return features * gate


class SpatialGate(nn.Module):
    """Where in the feature map it matters (Woo et al. 2018, eq. 3).

    s = a 7 × 7 convolution of the average and the maximum over channels, each standardised over the
    map.

    Args:
        kernel_size: side of the convolution, feature-map pixels; odd.

    Attributes:
        last: (N, 1, h, w) gate of the latest forward pass, in (0, 2); None before the first.
    """

    def __init__(self, kernel_size: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel_size, padding=kernel_size // 2, bias=False)
        nn.init.zeros_(self.conv.weight)
        self.last: torch.Tensor | None = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) → the same shape, each position multiplied by its gate."""
        mean = standardised(features.mean(1, keepdim=True))
        peak = standardised(features.amax(1, keepdim=True))
        gate = 2 * torch.sigmoid(self.conv(torch.cat([mean, peak], 1)))
        _remember(self, gate)
        return features * gate


class TimmGate(nn.Module):
    """timm's `se` or `eca` gate of channels, doubled: it too starts as the identity.

    Squeeze and excitation: Hu, Shen & Sun, CVPR 2018, eq. 2 to 4. ECA: Wang et al., CVPR 2020,
    eq. 8. Their summaries are plain averages, not standardised.

    Attributes:
        last: (N, C, 1, 1) gate of the latest forward pass, in (0, 2); None before the first.
    """

    def __init__(self, channels: int, kind: Literal["se", "eca"]) -> None:
        super().__init__()
        self.timm: Any = create_attn(kind, channels)
        if kind == "se":
            self.timm.act.inplace = False
        for parameter in (self.timm.fc2 if kind == "se" else self.timm.conv).parameters():
            nn.init.zeros_(parameter)
        self.timm.gate.register_forward_hook(self._keep)
        self.last: torch.Tensor | None = None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) → the same shape, each channel multiplied by its gate."""
        gated: torch.Tensor = self.timm(features)
        return 2 * gated

    def _keep(self, _module: nn.Module, _inputs: Any, gate: torch.Tensor) -> None:
        _remember(self, 2 * gate.reshape(len(gate), -1, 1, 1))


class Gates(nn.Module):
    """The gates behind one stage: channel first, then spatial, as Woo et al. found best."""

    def __init__(self, channels: int, attention: Attention) -> None:
        super().__init__()
        self.channel = _channel_gate(channels, attention)
        self.spatial = SpatialGate() if attention in ("spatial", "both") else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) → the same shape, gated."""
        if self.channel is not None:
            features = self.channel(features)
        if self.spatial is not None:
            features = self.spatial(features)
        return features


def _channel_gate(channels: int, attention: Attention) -> ChannelGate | TimmGate | None:
    match attention:
        case "channel" | "both":
            return ChannelGate(channels)
        case "se" | "eca":
            return TimmGate(channels, attention)
        case _:
            return None


def standardised(summary: torch.Tensor) -> torch.Tensor:
    """Zero mean and unit variance over everything but the batch; a constant summary becomes 0."""
    return layer_norm(summary, summary.shape[1:])


def _remember(module: ChannelGate | SpatialGate | TimmGate, gate: torch.Tensor) -> None:
    """Keep the gate for display; an exported graph has no memory, so nothing is kept there."""
    if not torch.compiler.is_exporting():
        module.last = gate.detach()


def apply_gates(
    gates: Gates, layout: MapLayout, _module: nn.Module, _inputs: Any, output: torch.Tensor
) -> torch.Tensor:
    """Forward hook that puts the gates behind a stage, whatever way its output lies."""
    return layout.put_back(gates(layout.to_map(output)), output)


def product(gates: list[torch.Tensor]) -> torch.Tensor:
    """The product of maps of several resolutions on the finest of their grids."""
    finest = max((gate.shape[-2:] for gate in gates), key=lambda size: size[0] * size[1])
    resized = [
        nn.functional.interpolate(gate, size=finest, mode="bilinear", align_corners=False)
        for gate in gates
    ]
    return torch.stack(resized).prod(0)
