"""Faithfulness of a study's maps on a sample: how much each beats a random map, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from sonobalance.evaluation.intervals import mean_interval
from sonobalance.explanation.baselines import BASELINES
from sonobalance.explanation.faithfulness import Curves, curves_of, gain, pixel_order
from sonobalance.explanation.localisation import random_map
from sonobalance.explanation.measure import Kept
from sonobalance.explanation.study import Study
from sonobalance.progress import Bar
from sonobalance.randomness import numpy_generator

Found = dict[str, dict[str, Any]]


def passes(study: Study, sample: int) -> int:
    """Forward passes that `faithfulness_of` makes at most."""
    maps = len(study.settings.faithfulness_maps) + 1
    return 2 * study.settings.steps * len(BASELINES) * maps * sample


def faithfulness_of(
    study: Study, kept: Kept, sample: Sequence[int], shown: Bar
) -> tuple[Found, Found]:
    """Deletion and insertion of the maps in the settings against a random map, on the sample.

    Returns:
        Map → "deletion_blur" and so on → interval of the area by which the map beats the random
        one; and map → the same key → mean curves {"share", "map", "random"}. A map that is flat on
        every image, such as an untrained gate, is left out.
    """
    if not sample:
        return {}, {}
    names = [name for name in study.settings.faithfulness_maps if _says_something(kept, name)]
    gains: Found = {name: {} for name in names}
    curves: Found = {name: {} for name in names}
    weights = study.resamples(sample)
    for baseline in BASELINES:
        random = _curves(study, _random_maps(study, sample), sample, baseline, shown)
        for name in names:
            maps = torch.stack([kept[name][i] for i in sample])
            own = _curves(study, maps, sample, baseline, shown)
            for kind, value in gain(own, random).items():
                interval = mean_interval(value, weights, study.settings.confidence)
                gains[name][f"{kind}_{baseline}"] = interval.as_json()
                curves[name][f"{kind}_{baseline}"] = _mean_curves(own, random, kind)
    return gains, curves


def _says_something(kept: Kept, name: str) -> bool:
    """Whether the map exists and is not flat: a flat map has no order to follow."""
    return any(bool(value.max() > value.min()) for value in kept.get(name, {}).values())


def _curves(
    study: Study, maps: torch.Tensor, sample: Sequence[int], baseline: str, shown: Bar
) -> Curves:
    order = pixel_order(maps, [study.box(i) for i in sample])
    images, targets = study.inputs(sample)
    found = curves_of(
        study.model, images, targets, order,
        baseline=baseline, steps=study.settings.steps, batch_size=study.settings.batch_size,
    )  # fmt: skip
    shown.advance(2 * study.settings.steps * len(sample), "deletion and insertion")
    return found


def _random_maps(study: Study, sample: Sequence[int]) -> torch.Tensor:
    side = study.images.pixels.shape[-1]
    maps = [
        random_map(side, side, numpy_generator(study.seed, "explain", "curve", study.images.ids[i]))
        for i in sample
    ]
    return torch.from_numpy(np.stack(maps))[:, None]


def _mean_curves(own: Curves, random: Curves, kind: str) -> dict[str, list[float]]:
    mean, control = (getattr(found, kind).mean(0) for found in (own, random))
    share = np.linspace(0, 1, len(mean))
    return {"share": share.tolist(), "map": mean.tolist(), "random": control.tolist()}
