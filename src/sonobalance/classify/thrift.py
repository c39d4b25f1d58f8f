"""A cheaper backward pass on processors: strided depthwise convolutions, computed unstrided.

The backward pass of a depthwise convolution with a stride is slower on a CPU than that of the same
convolution without one. Computing every position and keeping each second one gives the same values.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def unstride(model: nn.Module) -> int:
    """Change the strided depthwise convolutions that learn, of a model to be trained on a CPU.

    Args:
        model: changed in place; names and shapes of its weights stay as they are.

    Returns:
        How many convolutions were changed.
    """
    found = [m for m in model.modules() if isinstance(m, nn.Conv2d) and _suits(m)]
    for conv in found:
        conv.register_forward_hook(_Keep(*conv.stride[:2]))
        conv.stride = (1, 1)
    return len(found)


def _suits(module: nn.Conv2d) -> bool:
    """Whether this convolution learns, is depthwise and strided, and pads by a fixed amount."""
    if type(module) is not nn.Conv2d or isinstance(module.padding, str):
        return False
    depthwise = module.groups == module.in_channels > 1
    return depthwise and module.stride != (1, 1) and module.weight.requires_grad


class _Keep:
    """Keep every so many rows and columns of an output."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns

    def __call__(self, _module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        kept = output[..., :: self.rows, :: self.columns]
        return kept.contiguous(memory_format=torch.channels_last)
