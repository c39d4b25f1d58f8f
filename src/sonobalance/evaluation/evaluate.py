"""From a table of predictions to `evaluation.json`; no model and no image is opened.

Shape of the document, with INTERVAL = {"value", "low", "high"} and null for what has no value:

    classes, n, groups, n_val, n_by_class, groups_by_class
    arms          {ARM: {METRIC: INTERVAL}}                 on TEST
    metrics       [{name, higher_is_better, sentence}]      order of display
    paired        [{arm, against, metric, difference, low, high, verdict, sentence}]
    confusion     {ARM: [[count]]}                          row = true, column = predicted class
    calibration   {ARM: {bins: [{low, high, count, confidence, accuracy}], temperature,
                         uncalibrated, calibrated: {ece, brier, log_loss: INTERVAL}}}
    roc           {ARM: {CLASS: {fpr, tpr}}}
    decision      {ARM: {CLASS: {threshold, net_benefit, act_on_all}}}
    operating     {ARM: {CLASS: {sensitivity_wanted, threshold, sensitivity, specificity}}}
    conformal     {ARM: {coverage_wanted, cutoff, coverage, mean_size, single_share, empty_share}}
    warnings, method, settings, seed
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sonobalance.config import EvaluationSettings
from sonobalance.errors import InputError
from sonobalance.evaluation.curves import decision_points, roc_points
from sonobalance.evaluation.from_val import calibration_of, conformal_of, operating_of
from sonobalance.evaluation.intervals import LEAST_GROUPS, group_weights
from sonobalance.evaluation.metrics import Floats, Metric, confusion, metrics_of
from sonobalance.evaluation.predictions import (
    ArmPredictions,
    arm_predictions,
    check_predictions,
    classes_of,
    read_predictions,
)
from sonobalance.evaluation.resampled import (
    Drawn,
    drawn,
    metric_interval,
    paired_difference,
    paired_row,
)
from sonobalance.randomness import numpy_generator

Draws = dict[str, dict[str, Drawn]]
REFERENCE = "none"
FEW_GROUPS = 10


def evaluate_predictions(
    predictions: Path | pd.DataFrame,
    settings: EvaluationSettings,
    *,
    seed: int,
    references: Sequence[str] = (REFERENCE,),
    temperatures: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Evaluate every arm on TEST, and each arm against the references on the same images.

    Args:
        predictions: the CSV file, or a table with its columns (see `evaluation.predictions`).
        settings: intervals and calibration.
        seed: seed of the resampling.
        references: arms that every other arm is compared with, where they were predicted.
        temperatures: arm → what its model divided the logits by, fitted on VAL; one is fitted here
            for an arm that is not named, and shown beside its probabilities as they stand.

    Returns:
        The document described at the head of this file.

    Raises:
        InputError: the table is not fit for use, has no TEST rows, or arms differ in images.
    """
    if isinstance(predictions, pd.DataFrame):
        frame = check_predictions(predictions)
    else:
        frame = read_predictions(predictions)
    classes = classes_of(frame)
    test = _arms_of(frame, "test")
    val = _arms_of(frame, "val", required=False)
    first = next(iter(test.values()))
    metrics = metrics_of(classes, settings.calibration_bins)
    generator = numpy_generator(seed, "evaluate", "bootstrap")
    weights = group_weights(first.groups, settings.resamples, generator, first.targets)
    draws: Draws = {
        arm: {m.name: drawn(m, data, weights) for m in metrics} for arm, data in test.items()
    }
    document = _counts(classes, first) | {
        "n_val": max((len(data) for data in val.values()), default=0),
        "metrics": [
            {"name": m.name, "higher_is_better": m.higher_is_better, "sentence": m.sentence}
            for m in metrics
        ],
        "arms": _scores(metrics, test, draws, settings),
        "paired": _paired(metrics, draws, references, settings),
    }
    document |= {
        name: {arm: make(arm) for arm in test}
        for name, make in _figures(
            classes, test, val, weights, settings, temperatures=temperatures or {}
        ).items()
    }
    return document | {
        "warnings": _warnings(document),
        "method": _method(settings),
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
    }


def _arms_of(frame: pd.DataFrame, part: str, *, required: bool = True) -> dict[str, ArmPredictions]:
    """The rows of one part by arm, `none` first; all arms must be about the same images."""
    names = sorted(frame["arm"].unique(), key=lambda arm: (arm != REFERENCE, arm))
    arms = {arm: arm_predictions(frame, arm, part) for arm in names}
    first = arms[names[0]]
    for arm, data in arms.items():
        if required and len(data) == 0:
            raise InputError(
                f"Expected the predictions to have TEST rows of arm {arm!r}, but got none."
            )
        same = data.ids == first.ids and (data.groups == first.groups).all()
        if not same or (data.targets != first.targets).any():
            raise InputError(
                f"Expected every arm to predict the same {part} images with the same labels and "
                f"groups, but {arm!r} ({len(data)} images) and {names[0]!r} ({len(first)}) differ."
            )
    return {arm: data for arm, data in arms.items() if len(data)}


def _scores(
    metrics: tuple[Metric, ...],
    test: dict[str, ArmPredictions],
    draws: Draws,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    return {
        arm: {
            m.name: metric_interval(m, data, draws[arm][m.name], settings.confidence).as_json()
            for m in metrics
        }
        for arm, data in test.items()
    }


def _paired(
    metrics: tuple[Metric, ...],
    draws: Draws,
    references: Sequence[str],
    settings: EvaluationSettings,
) -> list[dict[str, Any]]:
    """Each arm against each reference that was predicted, metric by metric."""
    return [
        paired_row(
            m,
            arm,
            against,
            paired_difference(draws[arm][m.name], draws[against][m.name], settings.confidence),
        )
        for against in references
        for arm in draws
        if against in draws and arm != against
        for m in metrics
    ]


def _figures(
    classes: tuple[str, ...],
    test: dict[str, ArmPredictions],
    val: dict[str, ArmPredictions],
    weights: Floats,
    settings: EvaluationSettings,
    *,
    temperatures: Mapping[str, float],
) -> dict[str, Any]:
    """What is drawn for each arm, as functions of the arm's name."""
    once = np.ones((1, weights.shape[1]))

    def by_class(draw: Any, arm: str) -> dict[str, Any]:
        data = test[arm]
        return {name: draw(data.targets, data.probabilities, k) for k, name in enumerate(classes)}

    def table(arm: str) -> list[list[int]]:
        counts = confusion(test[arm].targets, test[arm].probabilities, once)[0]
        return [[round(cell) for cell in row] for row in counts]

    return {
        "confusion": table,
        "calibration": lambda arm: calibration_of(
            test[arm], val.get(arm), weights, settings, temperatures.get(arm)
        ),
        "roc": lambda arm: by_class(roc_points, arm),
        "decision": lambda arm: by_class(decision_points, arm),
        "operating": lambda arm: operating_of(classes, test[arm], val.get(arm), weights, settings),
        "conformal": lambda arm: conformal_of(test[arm], val.get(arm), weights, settings),
    }


def _counts(classes: tuple[str, ...], data: ArmPredictions) -> dict[str, Any]:
    of_class = {name: data.targets == k for k, name in enumerate(classes)}
    return {
        "classes": list(classes),
        "n": len(data),
        "groups": len(np.unique(data.groups)),
        "n_by_class": {name: int(rows.sum()) for name, rows in of_class.items()},
        "groups_by_class": {
            name: len(np.unique(data.groups[rows])) for name, rows in of_class.items()
        },
    }


def _warnings(document: dict[str, Any]) -> list[str]:
    out = []
    for name, groups in document["groups_by_class"].items():
        if groups == 0:
            out.append(f"TEST has no {name} image: its numbers are missing, means leave it out.")
        elif groups < LEAST_GROUPS:
            out.append(
                f"TEST has only {groups} independent group(s) of {name}: "
                "its numbers and the means over classes have no interval."
            )
        elif groups < FEW_GROUPS:
            out.append(
                f"TEST has only {groups} independent group(s) of {name}: "
                "the intervals of its numbers are rough."
            )
    if document["n_val"] == 0:
        out.append("There are no VAL rows: no temperature, threshold or conformal set was fitted.")
    return out


def _method(settings: EvaluationSettings) -> str:
    return (
        f"Intervals at {settings.confidence:.0%}: percentiles of {settings.resamples} bootstrap "
        "resamples of whole groups (patients and near-duplicates), the same resamples for every "
        "arm; a resample that misses a class was drawn again. That of ECE, which resampling "
        "raises, holds the percentile and the basic interval. Shares of 0 or 1 have Wilson's "
        f"interval over groups; fewer than {LEAST_GROUPS} groups give no interval. Differences are "
        "not corrected for the number of comparisons. "
        "Temperature, thresholds and conformal sets were fitted on VAL and measured on TEST."
    )
