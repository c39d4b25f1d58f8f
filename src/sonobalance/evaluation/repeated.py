"""Arms over folds and seeds: each arm's numbers, and paired differences of two arms.

An arm's TEST predictions come in blocks, one per (seed, fold). What is counted (accuracy, F1,
recall, calibration) is computed on the pooled folds of a seed; what ranks images (AUC) is computed
within a fold, because scores of two models cannot be ranked against each other (Forman & Scholz,
SIGKDD Explorations 2010). The mean over seeds is reported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.config import EvaluationSettings
from sonobalance.errors import InputError
from sonobalance.evaluation.intervals import (
    LEAST_GROUPS,
    Interval,
    group_weights,
)
from sonobalance.evaluation.metrics import Floats, Integers, Metric, metrics_of
from sonobalance.evaluation.pairing import difference_row
from sonobalance.evaluation.predictions import ArmPredictions
from sonobalance.evaluation.resampled import CELLS_PER_BLOCK, Drawn, drawn_interval
from sonobalance.randomness import numpy_generator

Place = tuple[int, int]
Blocks = Mapping[Place, ArmPredictions]
REPORTED = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "recall_", "ece", "brier")


def evaluate_repeated(
    arms: Mapping[str, Blocks],
    classes: Sequence[str],
    settings: EvaluationSettings,
    *,
    seed: int,
    references: Sequence[str],
    test_to_train: float | None,
) -> dict[str, Any]:
    """Every arm with intervals, and each against the references on the same images.

    Args:
        arms: arm → (seed, fold) → its predictions of that fold's TEST images.
        classes: class names; index = integer target.
        settings: resamples, level, bins.
        seed: of the resampling.
        references: arms that every other arm is compared with, where they are present.
        test_to_train: images of TEST over images of TRAIN, for the corrected resampled t; None
            for a TEST set that is the same for every model, where only the bootstrap fits.

    Returns:
        `arms`, `paired`, `classes`, `n`, `groups`, `n_by_class`, as plain values.

    Raises:
        InputError: arms differ in folds, images, labels or groups.
    """
    _check_same(arms)
    images = Tested.of(next(iter(arms.values())).values())
    metrics = reported_metrics(classes, settings.calibration_bins)
    generator = numpy_generator(seed, "benchmark", "bootstrap")
    weights = group_weights(images.groups, settings.resamples, generator, images.targets)
    draws = {
        arm: {m.name: averaged(m, blocks, images, weights) for m in metrics}
        for arm, blocks in arms.items()
    }
    level = settings.confidence
    pairs = [(arm, other) for other in references if other in arms for arm in arms if arm != other]
    return {
        "arms": {
            arm: {m.name: _interval(m, images, draw[m.name], level).as_json() for m in metrics}
            for arm, draw in draws.items()
        },
        "paired": [
            difference_row(
                m, (arm, other), (draws[arm][m.name], draws[other][m.name]),
                (_each(m, arms[arm]), _each(m, arms[other])),
                test_to_train=test_to_train, confidence=level,
            )
            for arm, other in pairs
            for m in metrics
        ],
        "classes": list(classes),
        "n": len(images.ids),
        "groups": len(np.unique(images.groups)),
        "n_by_class": {c: int((images.targets == k).sum()) for k, c in enumerate(classes)},
    }  # fmt: skip


@dataclass(frozen=True)
class Tested:
    """Every image that was tested, once, however many models predicted it.

    Attributes:
        ids: sorted ids.
        groups: (N,) group of each.
        targets: (N,) int64 class of each.
    """

    ids: tuple[str, ...]
    groups: NDArray[np.str_]
    targets: Integers

    @classmethod
    def of(cls, blocks: Iterable[ArmPredictions]) -> Tested:
        """The union of the blocks."""
        rows = {
            key: (group, target)
            for block in blocks
            for key, group, target in zip(block.ids, block.groups, block.targets, strict=True)
        }
        ids = tuple(sorted(rows))
        return cls(
            ids,
            np.array([rows[key][0] for key in ids], np.str_),
            np.array([rows[key][1] for key in ids], np.int64),
        )

    def columns(self, block: ArmPredictions) -> NDArray[np.int64]:
        """Position of each image of a block."""
        return np.searchsorted(np.asarray(self.ids), np.asarray(block.ids))


def reported_metrics(classes: Sequence[str], bins: int) -> tuple[Metric, ...]:
    """The metrics of `benchmark.json`."""
    every = metrics_of(tuple(classes), bins)
    return tuple(m for m in every if m.name in REPORTED or m.name.startswith("recall_"))


def averaged(
    metric: Metric, blocks: Blocks, images: Tested, weights: Floats | None = None
) -> Drawn:
    """A metric over seeds, on the images themselves and on every resample of them.

    Args:
        metric: pooled over the folds of a seed, or averaged over them when it ranks images.
        blocks: predictions by (seed, fold).
        images: what the columns of `weights` stand for.
        weights: (R, N) from `group_weights`; None: no resamples.
    """
    units = list(blocks.values()) if metric.ranks else [*pooled(blocks).values()]
    value = _mean(np.array([[_once(metric, unit)] for unit in units]))[0]
    if weights is None:
        return Drawn(float(value), np.zeros(0))
    if metric.least_groups(images.targets, images.targets, images.groups) < LEAST_GROUPS:
        return Drawn(float(value), np.full(len(weights), np.nan))
    columns = [images.columns(unit) for unit in units]
    rows = max(1, CELLS_PER_BLOCK // max(1, weights.shape[1]))
    parts = [
        _mean(np.stack([
            metric.function(unit.targets, unit.probabilities, weights[i : i + rows, of])
            for unit, of in zip(units, columns, strict=True)
        ]))
        for i in range(0, len(weights), rows)
    ]  # fmt: skip
    return Drawn(float(value), np.concatenate(parts))


def pooled(blocks: Blocks) -> dict[int, ArmPredictions]:
    """Seed → the predictions of all its folds together."""
    out: dict[int, ArmPredictions] = {}
    for (seed, _), block in blocks.items():
        out[seed] = joined(out[seed], block) if seed in out else block
    return out


def joined(a: ArmPredictions, b: ArmPredictions) -> ArmPredictions:
    """The predictions of two sets of images, one after the other."""
    return ArmPredictions(
        a.ids + b.ids,
        np.concatenate([a.groups, b.groups]),
        np.concatenate([a.targets, b.targets]),
        np.concatenate([a.probabilities, b.probabilities]),
    )


def _each(metric: Metric, blocks: Blocks) -> Floats:
    """(J,) the metric of each block alone, in the order of (seed, fold)."""
    return np.array([_once(metric, blocks[place]) for place in sorted(blocks)])


def _once(metric: Metric, data: ArmPredictions) -> float:
    return float(metric.function(data.targets, data.probabilities, np.ones((1, len(data))))[0])


def _mean(rows: Floats) -> Floats:
    """(U, R) → (R,): the mean of the units that have a value."""
    known = np.isfinite(rows)
    counts = known.sum(0)
    out = np.full(counts.shape, np.nan)
    np.divide(np.where(known, rows, 0.0).sum(0), counts, out=out, where=counts > 0)
    return out


def _interval(metric: Metric, images: Tested, draw: Drawn, level: float) -> Interval:
    """The reported shares, accuracy and recall, do not rest on what was predicted."""
    y = images.targets
    return drawn_interval(metric, draw, level, targets=y, predicted=y, groups=images.groups)


def _check_same(arms: Mapping[str, Blocks]) -> None:
    if not arms or not all(arms.values()):
        raise InputError("Expected predictions of at least one arm, but got none.")
    first_name, first = next(iter(arms.items()))
    for arm, blocks in arms.items():
        if set(blocks) != set(first):
            raise InputError(
                f"Expected every arm on the same folds and seeds, but {arm!r} and {first_name!r} "
                "differ."
            )
        for place, block in blocks.items():
            other = first[place]
            same = block.ids == other.ids and (block.groups == other.groups).all()
            if not same or (block.targets != other.targets).any():
                raise InputError(
                    f"Expected every arm to predict the same images of seed {place[0]}, fold "
                    f"{place[1]}, but {arm!r} and {first_name!r} differ."
                )
