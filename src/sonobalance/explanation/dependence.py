"""Faithfulness of a study's maps on a sample: how much each beats a random map, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from sonobalance.evaluation.intervals import Interval, mean_interval, number_or_none
from sonobalance.explanation.baselines import FILLINGS, filling
from sonobalance.explanation.faithfulness import Curves, curves_of, gain, pixel_order
from sonobalance.explanation.localisation import random_map
from sonobalance.explanation.maps import native_grids
from sonobalance.explanation.measure import Kept
from sonobalance.explanation.study import Study
from sonobalance.progress import Bar
from sonobalance.randomness import numpy_generator

KINDS = ("deletion", "insertion")
Found = dict[str, dict[str, Any]]
Gains = dict[str, NDArray[np.float64]]


def passes(study: Study, sample: int, maps: int) -> int:
    """Forward passes that `faithfulness_of` makes at most: of every map and of a random one."""
    return 2 * study.settings.steps * len(FILLINGS) * 2 * maps * sample


def faithfulness_of(
    study: Study, kept: Kept, names: Sequence[str], sample: Sequence[int], shown: Bar
) -> tuple[Found, Found, Found]:
    """Deletion and insertion of some maps against a random map, on the sample.

    Args:
        study: what is explained.
        kept: the maps of the images of the sample.
        names: which maps to follow; those that do not exist, or are flat on every image as an
            untrained gate is, are left out.
        sample: positions of the images.
        shown: progress.

    Returns:
        Map → "deletion_blur" and so on → interval of the area by which the map beats the random
        one; map → the same key → mean curves {"share", "map", "random"}; and map → kind →
        `sensitivity` to what stands in for the pixels.
    """
    names = [name for name in names if _says_something(kept, name)]
    if not names or not sample:
        return {}, {}, {}
    gains: dict[str, Gains] = {name: {} for name in names}
    curves: Found = {name: {} for name in names}
    grids = _grids(study, names, sample)
    random = {cells: _random_maps(study, cells, sample) for cells in set(grids.values())}
    for stand_in in FILLINGS:
        follow = partial(_curves, study, sample, stand_in)
        chance = {cells: follow(maps, maps) for cells, maps in random.items()}
        shown.advance(2 * study.settings.steps * len(sample) * len(random), "random maps")
        for name, cells in grids.items():
            own = follow(torch.stack([kept[name][i] for i in sample]), random[cells])
            for kind, value in gain(own, chance[cells]).items():
                gains[name][f"{kind}_{stand_in}"] = value
                curves[name][f"{kind}_{stand_in}"] = _mean_curves(own, chance[cells], kind)
            shown.advance(2 * study.settings.steps * len(sample), "deletion and insertion")
    weights, level = study.resamples(sample), study.settings.confidence
    means = {
        name: {key: mean_interval(value, weights, level) for key, value in found.items()}
        for name, found in gains.items()
    }
    return (
        {name: {key: i.as_json() for key, i in found.items()} for name, found in means.items()},
        curves,
        {name: sensitivity(gains[name], means[name]) for name in names},
    )


def sensitivity(gains: Gains, means: dict[str, Interval]) -> dict[str, Any]:
    """How much a map's faithfulness depends on what stands in for the pixels.

    Args:
        gains: "deletion_blur" and so on → (n,) area by which the map beats the random one.
        means: the same keys → mean with its interval.

    Returns:
        Kind → {"lowest", "highest": mean gain over the stand-ins, "agreement": mean rank
        correlation over images of the gains under two stand-ins (None where it has no value),
        "verdict": "faithful", "unfaithful" or "no clear difference" where all stand-ins say so,
        else "depends on the stand-in"}.
    """
    out = {}
    for kind in KINDS:
        keys = [f"{kind}_{name}" for name in FILLINGS]
        values = [means[key].value for key in keys]
        pairs = [_rank(gains[a], gains[b]) for a, b in combinations(keys, 2)]
        verdicts = {_verdict(means[key]) for key in keys}
        out[kind] = {
            "lowest": min(values),
            "highest": max(values),
            "agreement": number_or_none(float(np.mean(pairs))),
            "verdict": verdicts.pop() if len(verdicts) == 1 else "depends on the stand-in",
        }
    return out


def _verdict(mean: Interval) -> str:
    if mean.low > 0:
        return "faithful"
    return "unfaithful" if mean.high < 0 else "no clear difference"


def _rank(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    return float(spearmanr(a, b).statistic)


def _says_something(kept: Kept, name: str) -> bool:
    """Whether the map exists and is not flat: a flat map has no order to follow."""
    return any(bool(value.max() > value.min()) for value in kept.get(name, {}).values())


def _grids(study: Study, names: Sequence[str], sample: Sequence[int]) -> dict[str, tuple[int, int]]:
    """How coarse each map is: the grid it was computed on, else that of the pixels."""
    side = study.images.pixels.shape[-1]
    known = native_grids(study.model, study.layer, study.inputs(sample[:1]).images)
    return {name: known.get(name, (side, side)) for name in names}


def _random_maps(study: Study, cells: tuple[int, int], sample: Sequence[int]) -> torch.Tensor:
    """(n, 1, S, S) random maps as coarse as this grid."""
    side = study.images.pixels.shape[-1]
    generators = [
        numpy_generator(study.seed, "explain", "curve", study.images.ids[i]) for i in sample
    ]
    maps = [random_map(side, side, generator, cells) for generator in generators]
    return torch.from_numpy(np.stack(maps))[:, None]


def _curves(
    study: Study, sample: Sequence[int], stand_in: str, maps: torch.Tensor, ties: torch.Tensor
) -> Curves:
    images, targets, inside = study.inputs(sample)
    return curves_of(
        study.model, targets, pixel_order(maps, inside, ties),
        fill=filling(stand_in, images, [study.box(i) for i in sample], study.seed),
        steps=study.settings.steps, batch_size=study.settings.batch_size,
    )  # fmt: skip


def _mean_curves(own: Curves, random: Curves, kind: str) -> dict[str, list[float]]:
    mean, control = (getattr(found, kind).mean(0) for found in (own, random))
    share = np.linspace(0, 1, len(mean))
    return {"share": share.tolist(), "map": mean.tolist(), "random": control.tolist()}
