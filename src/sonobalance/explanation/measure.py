"""Making the maps of a study batch by batch and scoring them against lesions and marks."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import torch

from sonobalance.explanation.attributions import HEAVY, heavy_map
from sonobalance.explanation.baselines import blurred
from sonobalance.explanation.inputs import Inputs
from sonobalance.explanation.localisation import Map, centre_map, random_map
from sonobalance.explanation.maps import cheap_maps, local_energy, to_originals
from sonobalance.explanation.scoring import ScoreTable
from sonobalance.explanation.study import Study
from sonobalance.progress import Bar
from sonobalance.randomness import numpy_generator

CONTROLS = ("random", "centre", "contrast")
Kept = dict[str, dict[int, torch.Tensor]]
CHEAP_PASSES = 2
HEAVY_PASSES = 100


def measure_cheap(study: Study, table: ScoreTable, keep: Collection[int], shown: Bar) -> Kept:
    """Score the cheap maps and the controls on every image.

    Args:
        study: what is explained.
        table: where the scores go.
        keep: positions of the images whose maps are needed again.
        shown: progress; advances `CHEAP_PASSES` per image.

    Returns:
        Map → position → (1, S, S) float32, for the positions in `keep`.
    """
    kept: Kept = {}
    for start in range(0, len(study), study.settings.batch_size):
        index = range(start, min(start + study.settings.batch_size, len(study)))
        inputs = study.inputs(index)
        maps = cheap_maps(study.model, study.layer, inputs, study.cost)
        _score(study, table, index, maps)
        for name, values in maps.items():
            for i, value in zip(index, values, strict=True):
                if i in keep:
                    kept.setdefault(name, {})[i] = value.clone()
        seen = contrast(inputs)
        for i, value in zip(index, seen, strict=True):
            _score_controls(study, table, i, value)
        shown.advance(CHEAP_PASSES * len(index), "maps")
    return kept


def measure_heavy(study: Study, table: ScoreTable, sample: Sequence[int], shown: Bar) -> Kept:
    """Score the costly maps on a sample; progress advances `HEAVY_PASSES` per map and image.

    Returns:
        Map → position → (1, S, S) float32.
    """
    kept: Kept = {}
    for name in HEAVY if sample else ():
        for i in sample:
            value = heavy_map(name, study.model, study.inputs([i]), study.cost)
            _score(study, table, [i], {name: value})
            kept.setdefault(name, {})[i] = value[0]
            shown.advance(HEAVY_PASSES, name)
    return kept


def in_original(study: Study, i: int, square: torch.Tensor) -> Map:
    """One (1, S, S) map in the geometry of image `i`."""
    return to_originals(square[None], [study.box(i)])[0]


def _score(
    study: Study, table: ScoreTable, index: Sequence[int], maps: dict[str, torch.Tensor]
) -> None:
    for name, values in maps.items():
        for i, value in zip(index, values, strict=True):
            table.add(name, i, in_original(study, i, value), study.regions(i))


def contrast(inputs: Inputs) -> torch.Tensor:
    """A control that knows the image but no network: where it differs most from its blur.

    Returns:
        (N, 1, S, S), at least 0, as smooth as the gradient energy.
    """
    images, _, inside = inputs
    return local_energy(images - blurred(images, inside), inside)


def _score_controls(study: Study, table: ScoreTable, i: int, seen: torch.Tensor) -> None:
    generator = numpy_generator(study.seed, "explain", "control", study.images.ids[i])
    height, width = study.originals[i].shape
    table.add("random", i, random_map(height, width, generator), study.regions(i))
    table.add("centre", i, centre_map(height, width), study.regions(i))
    table.add("contrast", i, in_original(study, i, seen), study.regions(i))
