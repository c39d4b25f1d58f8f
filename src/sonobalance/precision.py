"""Arithmetic of training: bfloat16 where the processor is faster with it.

One kind of layer is slower with it: on the CPU the backward pass of a depthwise convolution that
skips places takes many times as long in bfloat16 as in float32 (`Depthwise`).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Precision = Literal["auto", "float32", "bfloat16"]


def arithmetic(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which networks are run while training."""
    half = precision == "bfloat16" or (precision == "auto" and has_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


def has_bf16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 are faster there than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


class Depthwise(nn.Conv2d):
    """A strided depthwise convolution that computes in float32 where a gradient is wanted."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C, h, w) of the same type."""
        learns = torch.is_grad_enabled() and (input.requires_grad or self.weight.requires_grad)
        if input.device.type != "cpu" or not learns:
            return super().forward(input)
        with torch.autocast("cpu", enabled=False):
            return super().forward(input.float()).to(input.dtype)


def speed_up(network: nn.Module) -> None:
    """Make the strided depthwise convolutions of a network `Depthwise`; parameters stay theirs."""
    for module in network.modules():
        if type(module) is nn.Conv2d and module.groups > 1 and max(module.stride) > 1:
            module.__class__ = Depthwise
