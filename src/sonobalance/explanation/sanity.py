"""Does a map change when the network forgets what it learned?

Cascading weight randomisation (Adebayo et al. 2018, section 4.1): layer by layer from the head
down, weights are redrawn; the rank correlation of each map with the original one should fall to
zero. A map that stays the same shows the image or the architecture, not what was learned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from sonobalance.explanation.attributions import heavy_map
from sonobalance.explanation.inputs import Inputs
from sonobalance.explanation.layers import Layer
from sonobalance.explanation.localisation import random_map
from sonobalance.explanation.maps import Cost, cheap_maps, native_grids
from sonobalance.randomness import numpy_generator, torch_generator

STAGES = 5
GRID = 14


def cascade(
    model: nn.Module,
    layer: Layer,
    inputs: Inputs,
    *,
    seed: int,
    cost: Cost,
    heavy: Sequence[str] = (),
) -> dict[str, dict[str, Any]]:
    """Rank correlation of every map with itself while weights are redrawn from the head down.

    Args:
        model: (N, 1, S, S) → (N, K) logits; its weights are the same afterwards.
        layer: where class activation maps look.
        inputs: the images and their explained classes.
        seed: seed of the redrawn weights.
        cost: size of a pass.
        heavy: costly maps to check as well, with all weights redrawn only.

    Returns:
        Map → {"stages": [{"randomised", "share", "rank_correlation", "absolute"}], "chance", "fit",
        "sentence"}; `rank_correlation` and `absolute` are means over the images of ρ and |ρ|,
        `chance` is the |ρ| of a random map of the same coarseness.
    """
    original = maps_of(model, layer, inputs, cost=cost, heavy=heavy)
    chance = chance_of(model, layer, inputs.images, original, seed)
    stages: dict[str, list[dict[str, Any]]] = {name: [] for name in original}
    names = weight_names(model)
    with restored(model):
        for stage in range(STAGES):
            first, last = (len(names) * s // STAGES for s in (stage, stage + 1))
            redraw(model, names[first:last], seed)
            if first == last:
                continue
            wanted = heavy if last == len(names) else ()
            now = maps_of(model, layer, inputs, cost=cost, heavy=wanted)
            for name, maps in now.items():
                stages[name].append({
                    "randomised": names[last - 1],
                    "share": last / len(names),
                    **rank_correlation(original[name], maps),
                })  # fmt: skip
    return {name: _judged(found, chance[name]) for name, found in stages.items()}


def maps_of(
    model: nn.Module,
    layer: Layer,
    inputs: Inputs,
    *,
    cost: Cost,
    heavy: Sequence[str],
) -> dict[str, torch.Tensor]:
    """Every cheap map and these costly ones, each (N, 1, S, S)."""
    found = cheap_maps(model, layer, inputs, cost)
    return found | {name: heavy_map(name, model, inputs, cost) for name in heavy}


def chance_of(
    model: nn.Module,
    layer: Layer,
    images: torch.Tensor,
    maps: dict[str, torch.Tensor],
    seed: int,
) -> dict[str, float]:
    """Per map: mean |ρ| of the maps (N, 1, S, S) with random maps of the same coarseness."""
    grids = native_grids(model, layer, images[:1])
    return {name: _chance(own, grids.get(name, (GRID, GRID)), seed) for name, own in maps.items()}


def weight_names(model: nn.Module) -> list[str]:
    """The weights of convolutions and linear layers, last first; of all members side by side."""
    members = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2:
            members[name.split(".")[1] if name.startswith("partners.") else ""].append(name)
    depth = {
        name: (i + 1) / len(names) for names in members.values() for i, name in enumerate(names)
    }
    return sorted(depth, key=lambda name: depth[name], reverse=True)


@torch.no_grad()
def redraw(model: nn.Module, names: list[str], seed: int) -> None:
    """Replace weights by normal draws of the same mean and spread, so that signals keep their size.

    Weights that are all equal, such as a gate's at the start, are drawn with spread 0.1.
    """
    for name in names:
        weight = model.get_parameter(name)
        generator = torch_generator(seed, "sanity", name)
        noise = torch.randn(weight.shape, generator=generator).to(weight)
        spread = weight.std() if weight.numel() > 1 and weight.std() > 0 else 0.1
        weight.copy_(weight.mean() + spread * noise)


@contextmanager
def restored(model: nn.Module) -> Iterator[None]:
    """Give the model its weights back at the end."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(before[name])


def rank_correlation(one: torch.Tensor, other: torch.Tensor) -> dict[str, float]:
    """Means over images of Spearman's ρ, and of |ρ|, of two maps (N, 1, S, S) on a 14 × 14 grid.

    A flat map correlates with nothing: 0.
    """
    pairs = zip(
        *(adaptive_avg_pool2d(m, GRID).flatten(1).numpy() for m in (one, other)), strict=True
    )
    found = np.array([_spearman(a, b) for a, b in pairs])
    return {"rank_correlation": float(found.mean()), "absolute": float(np.abs(found).mean())}


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    if np.ptp(a) == 0 or np.ptp(b) == 0 or not np.isfinite(b).all():
        return 0.0
    return float(spearmanr(a, b).statistic)


def _chance(original: torch.Tensor, cells: tuple[int, int], seed: int) -> float:
    generator = numpy_generator(seed, "sanity", "chance")
    side = original.shape[-1]
    random = np.stack([random_map(side, side, generator, cells) for _ in original])
    return rank_correlation(original, torch.from_numpy(random)[:, None])["absolute"]


def is_fit(absolute: float, chance: float) -> bool:
    """Unfit is a map that stays closer to unchanged than to chance, or that is flat."""
    return 0 < absolute < (1 + chance) / 2


def _judged(stages: list[dict[str, Any]], chance: float) -> dict[str, Any]:
    last = stages[-1]["absolute"] if stages else 1.0
    fit = is_fit(last, chance)
    said = "follows what was learned" if fit else "is unfit, it hardly depends on what was learned"
    if last == 0:
        said = "is unfit, it is flat"
    return {
        "stages": stages,
        "chance": chance,
        "fit": fit,
        "sentence": f"Rank correlation with all weights redrawn: {last:.2f} (chance {chance:.2f}); "
        f"the map {said}.",
    }
