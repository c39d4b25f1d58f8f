"""Batch norms folded into the convolutions before them, for networks that no longer learn.

In evaluation mode a batch norm is an affine map per channel with known numbers, so the convolution
before it can do its work (Jacob et al., CVPR 2018, section 3.2). Nothing but rounding changes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)
TOLERANCE = 1e-3  # largest change of an output by rounding, as a share of the largest output


def fold_norms(network: Network, outputs: Callable[[Network], Sequence[Tensor]]) -> Network:
    """A copy with the same outputs and without its batch norms.

    Which convolution feeds which batch norm is taken from their order in the network, and checked:
    where that order misleads, the copy keeps its batch norms.

    Args:
        network: in evaluation mode; not changed.
        outputs: what must stay the same, of either network; the same input at each call.
    """
    fast = folded(network)
    with torch.no_grad():
        pairs = zip(outputs(network), outputs(fast), strict=True)
        same = all(_near(wanted, got) for wanted, got in pairs)
    return fast if same else copy.deepcopy(network)


def folded(network: Network) -> Network:
    """A copy in which each batch norm right after a convolution is folded, in registration order.

    Whether that order is the network's own nobody looks at: see `fold_norms`.
    """
    fast, before = copy.deepcopy(network), None
    for name, module in list(fast.named_modules()):
        norm = module if isinstance(module, nn.BatchNorm2d) else None
        if isinstance(before, nn.Conv2d) and norm and _foldable(before, norm):
            merged = fuse_conv_bn_eval(before, norm)
            before.weight, before.bias = merged.weight, merged.bias
            fast.set_submodule(name, getattr(norm, "act", nn.Identity()))
        if norm or not list(module.children()):
            before = module
    return fast


def _foldable(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> bool:
    """Whether the norm scales this convolution's channels, and nobody listens to their outputs."""
    heard = norm._forward_hooks or convolution._forward_hooks
    return norm.num_features == convolution.out_channels and not heard


def _near(wanted: Tensor, got: Tensor) -> bool:
    return bool((wanted - got).abs().max() <= TOLERANCE * (1 + wanted.abs().max()))
