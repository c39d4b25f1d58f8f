"""Does the decision depend on what a map marks? Deletion and insertion curves.

Petsiuk, Das & Saenko 2018 (RISE): pixels are taken away, or put back, in the order of the map,
and the probability of the explained class is followed. A good map makes it fall, or rise, sooner
than a random map of the same coarseness. What stands in for a missing pixel matters, so several
fillings are used side by side; with the one called `road` the curves are those of Rong et al. 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sonobalance.explanation.baselines import Fill
from sonobalance.explanation.maps import probabilities_of

Curve = NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    """Probability of the explained class while pixels go or come.

    Attributes:
        deletion, insertion: (N, steps + 1) at shares 0, 1 / steps, ..., 1 of the pixels.
    """

    deletion: Curve
    insertion: Curve


def pixel_order(maps: torch.Tensor, inside: torch.Tensor, ties: torch.Tensor) -> torch.Tensor:
    """When each pixel's turn comes, highest evidence first.

    Args:
        maps: (N, 1, S, S) float32.
        inside: (N, 1, S, S) bool, where each image lies in its square; the padding comes last.
        ties: (N, 1, S, S) float32: of equal pixels the one that is higher here comes first.

    Returns:
        (N, 1, S, S) float32: the share of the image's pixels with a turn before this one, in
        [0, 1) inside the image and at least 1 in the padding.
    """
    value = maps.masked_fill(~inside, -torch.inf).flatten(1)
    first = ties.flatten(1).argsort(descending=True, stable=True)
    second = value.gather(1, first).argsort(descending=True, stable=True)
    turn = torch.arange(value.shape[1], dtype=value.dtype).expand_as(value)
    out = torch.empty_like(value).scatter(1, first.gather(1, second), turn)
    return (out / inside.flatten(1).sum(1, keepdim=True)).view_as(maps)


def curves_of(
    model: nn.Module,
    targets: torch.Tensor,
    order: torch.Tensor,
    *,
    fill: Fill,
    steps: int,
    batch_size: int,
) -> Curves:
    """Deletion and insertion curves.

    Args:
        model: (N, 1, S, S) → (N, K) logits.
        targets: (N,) int64 explained class.
        order: (N, 1, S, S) from `pixel_order`.
        fill: (N, 1, S, S) bool, what is gone → the images without it.
        steps: number of steps.
        batch_size: images in one pass.
    """
    inside = order < 1  # padding stays

    def point(gone: torch.Tensor) -> Curve:
        p = probabilities_of(model, fill(gone), batch_size).gather(1, targets[:, None])
        value: Curve = p[:, 0].double().numpy()
        return value

    full, none = point(torch.zeros_like(inside)), point(inside)
    shares = [step / steps for step in range(1, steps)]
    deletion = [point(order < share) for share in shares]
    insertion = [point(inside & (order >= share)) for share in shares]
    return Curves(
        deletion=np.stack([full, *deletion, none], axis=1),
        insertion=np.stack([none, *insertion, full], axis=1),
    )


def area(curve: Curve) -> Curve:
    """(N,) area under each curve over shares from 0 to 1, by the trapezoid rule."""
    found: Curve = np.trapezoid(curve, dx=1 / (curve.shape[1] - 1), axis=1)
    return found


def gain(map_curves: Curves, random_curves: Curves) -> dict[str, Curve]:
    """(N,) area by which a map beats a random one, for both kinds of curve; above 0 = faithful."""
    return {
        "deletion": area(random_curves.deletion) - area(map_curves.deletion),
        "insertion": area(map_curves.insertion) - area(random_curves.insertion),
    }
