"""What finished units predicted, together: by arm, seed and fold, and as one table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from sonobalance.comparison.guarded import with_guarded
from sonobalance.comparison.units import Unit
from sonobalance.errors import InputError
from sonobalance.evaluation.predictions import ArmPredictions, arm_predictions, read_predictions
from sonobalance.evaluation.repeated import Blocks

PREDICTIONS = "predictions.csv"


def blocks_by_arm(units: Iterable[Unit], name: str = PREDICTIONS) -> dict[str, Blocks]:
    """Arm → (seed, fold) → what the finished units said about their TEST images."""
    out: dict[str, dict[tuple[int, int], ArmPredictions]] = {}
    for unit in units:
        if unit.arm:
            rows = arm_predictions(rows_of_test(unit, name), unit.arm, "test")
            out.setdefault(unit.arm, {})[unit.fold.seed, unit.fold.number] = rows
    return dict(out)


def external_blocks(units: Sequence[Unit], name: str) -> dict[str, Blocks]:
    """Arm → (model, 0) → its predictions of the external set: each model is tested on all of it."""
    return {
        arm: {(i, 0): blocks[place] for i, place in enumerate(sorted(blocks))}
        for arm, blocks in with_guarded(blocks_by_arm(units, name), units).items()
    }


def external_ensembles(units: Sequence[Unit], name: str) -> dict[str, Blocks]:
    """Arm → (seed, 0) → the mean of what all folds' models of a seed say of the external set."""
    return {
        arm: {
            (seed, 0): mean_of([blocks[place] for place in sorted(blocks) if place[0] == seed])
            for seed in sorted({seed for seed, _ in blocks})
        }
        for arm, blocks in with_guarded(blocks_by_arm(units, name), units).items()
    }


def mean_of(several: Sequence[ArmPredictions]) -> ArmPredictions:
    """Predictions of the same images by several models: the mean of their probabilities.

    Raises:
        InputError: the models were not asked about the same images in the same order.
    """
    first = several[0]
    if any(other.ids != first.ids for other in several):
        raise InputError("Expected every model to predict the same images, but they differ.")
    mean = np.mean([each.probabilities for each in several], axis=0)
    return replace(first, probabilities=mean)


def prediction_rows(units: Iterable[Unit], name: str = PREDICTIONS) -> pd.DataFrame:
    """One row per arm, seed, fold and image: the whole of `predictions.csv`."""
    tables = []
    for unit in units:
        if unit.arm:
            table = rows_of_test(unit, name)
            table.insert(1, "seed", unit.fold.seed)
            table.insert(2, "fold", unit.fold.number)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def rows_of_test(unit: Unit, name: str = PREDICTIONS) -> pd.DataFrame:
    """The TEST rows of a unit, under the arm it stands for.

    A synthesis arm whose GAN collapsed was trained with real images alone and still counts as
    that arm.
    """
    rows = read_predictions(unit.folder / name)
    return rows[rows["part"] == "test"].assign(arm=unit.arm)
