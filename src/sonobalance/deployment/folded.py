"""A network for answering only: without batch norms, its activations in place.

It is faster than timm's own. Maps need the layers as they are and use the original.
"""

from __future__ import annotations

import torch

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.folding import fold_norms
from sonobalance.randomness import torch_generator


def folded(model: AttentiveClassifier, image_size_px: int) -> AttentiveClassifier:
    """A copy that gives the same logits and features faster.

    Args:
        model: in evaluation mode; not changed.
        image_size_px: side S of its input.
    """
    noise = torch.rand(
        1, 1, image_size_px, image_size_px, generator=torch_generator(0, "folded")
    ).to(model.mean.device) * 2 - 1  # fmt: skip
    fast = fold_norms(model, lambda network: [network(noise)])
    for module in fast.overwriting:
        module.inplace = True
    return fast
