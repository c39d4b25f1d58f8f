"""A leaky split: images with relatives in TRAIN beside those without."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.comparison.units import Fold
from sonobalance.data.split import Splits
from sonobalance.evaluation.predictions import ArmPredictions
from sonobalance.evaluation.repeated import Blocks, Place

Evaluate = Callable[[Mapping[str, Blocks]], dict[str, Any]]
Flags = Mapping[Place, NDArray[np.bool_]]
KEPT = ("n", "groups", "n_by_class", "arms")
METHOD = (
    "An image has relatives in TRAIN where one of its group stands there: a near-duplicate, an "
    "identical file, or another image of its patient. Relatives in VAL do not count, nor those "
    "that the audit does not know, such as another view of a patient whom no file names. Images "
    "of either kind differ in more than that (in their classes, for one), so that the difference "
    "between them is no estimate of what the leak is worth. With several seeds an image may be of "
    "either kind, each with the models of other seeds."
)


def by_relatives(
    arms: Mapping[str, Blocks], folds: Sequence[Fold], evaluate: Evaluate
) -> dict[str, Any]:
    """Every arm on the TEST images with relatives in TRAIN, and on those without.

    Args:
        arms: arm → (seed, fold) → its predictions of that fold's TEST images.
        folds: the parts of every fold of every seed.
        evaluate: `evaluate_repeated` with all but the arms given.

    Returns:
        `method`; `share` of the predictions of TEST that are of images with relatives in TRAIN;
        `copied`: how often the label that most of these relatives have is right (None without
        relatives; of n labels that are equally frequent each counts one n-th); `related` and
        `unrelated`: what `evaluate` says of either kind of image, None where there are none.
    """
    frequent = {(fold.seed, fold.number): labels_of_relatives(fold.splits) for fold in folds}
    truth = {r.id: r.label for fold in folds for r in fold.splits.of("test")}
    tested = next(iter(arms.values()))
    related = {
        place: np.array([key in frequent[place] for key in block.ids], bool)
        for place, block in tested.items()
    }
    unrelated = {place: ~flags for place, flags in related.items()}
    right = [
        (truth[key] in labels) / len(labels)
        for of_fold in frequent.values() for key, labels in of_fold.items()
    ]  # fmt: skip
    return {
        "method": METHOD,
        "share": float(np.concatenate([*related.values()]).mean()),
        "copied": float(np.mean(right)) if right else None,
        "related": _evaluated(arms, related, evaluate),
        "unrelated": _evaluated(arms, unrelated, evaluate),
    }


def labels_of_relatives(splits: Splits) -> dict[str, frozenset[str]]:
    """TEST image with relatives in TRAIN → the labels that most of these have."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for r in splits.of("train"):
        counts[splits.group[r.id]][r.label] += 1
    found = {r.id: counts.get(splits.group[r.id]) for r in splits.of("test")}
    return {key: _most_frequent(labels) for key, labels in found.items() if labels}


def _most_frequent(labels: Counter[str]) -> frozenset[str]:
    most = max(labels.values())
    return frozenset(label for label, n in labels.items() if n == most)


def _evaluated(
    arms: Mapping[str, Blocks], flags: Flags, evaluate: Evaluate
) -> dict[str, Any] | None:
    """The arms on the flagged images; a fold without such an image is left out."""
    places = [place for place, of_fold in flags.items() if of_fold.any()]
    if not places:
        return None
    result = evaluate({
        arm: {place: _rows(blocks[place], flags[place]) for place in places}
        for arm, blocks in arms.items()
    })  # fmt: skip
    return {key: result[key] for key in KEPT}


def _rows(block: ArmPredictions, flags: NDArray[np.bool_]) -> ArmPredictions:
    """The predictions of the images whose (N,) flag is set."""
    ids = tuple(key for key, flag in zip(block.ids, flags, strict=True) if flag)
    return replace(
        block, ids=ids, groups=block.groups[flags], targets=block.targets[flags],
        probabilities=block.probabilities[flags],
    )  # fmt: skip
