"""Arithmetic of training: bfloat16 where the processor is faster with it."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]


def arithmetic(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which networks are run while training."""
    half = precision == "bfloat16" or (precision == "auto" and has_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


def has_bf16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 are faster there than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())
