"""What is fitted on VAL and measured on TEST: temperature, thresholds, conformal sets."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.config import EvaluationSettings
from sonobalance.evaluation.calibration import (
    apply_temperature,
    conformal_cutoff,
    conformal_sets,
    operating_threshold,
    reliability_bins,
    temperature_of,
)
from sonobalance.evaluation.intervals import mean_interval, number_or_none, share_interval
from sonobalance.evaluation.metrics import Floats, metrics_of
from sonobalance.evaluation.predictions import ArmPredictions
from sonobalance.evaluation.resampled import drawn, metric_interval

CALIBRATED = ("ece", "brier", "log_loss")


def calibration_of(
    test: ArmPredictions,
    val: ArmPredictions | None,
    weights: Floats,
    settings: EvaluationSettings,
    temperature: float | None = None,
) -> dict[str, Any]:
    """The calibration curve of TEST, and its scores without and with a temperature of VAL.

    Args:
        test: the predictions as they stand; the curve is theirs.
        val: fits a temperature, where none is given.
        weights: (R, N) from `group_weights`.
        settings: bins, level.
        temperature: what the predictions' logits were divided by already (> 0); None: nothing.
    """
    bins = reliability_bins(test.targets, test.probabilities, settings.calibration_bins)
    out: dict[str, Any] = {
        "bins": [
            asdict(row)
            | {
                "confidence": number_or_none(row.confidence),
                "accuracy": number_or_none(row.accuracy),
            }
            for row in bins
        ],
        "temperature": None,
        "uncalibrated": None,
        "calibrated": None,
    }
    if temperature is not None:
        before, after = _divided(test, 1 / temperature), test
    elif val is not None:
        temperature = temperature_of(val.targets, val.probabilities)
        before, after = test, _divided(test, temperature)
    else:
        return out
    return out | {
        "temperature": temperature,
        "uncalibrated": _calibration_scores(before, weights, settings),
        "calibrated": _calibration_scores(after, weights, settings),
    }


def _divided(data: ArmPredictions, temperature: float) -> ArmPredictions:
    return replace(data, probabilities=apply_temperature(data.probabilities, temperature))


def _calibration_scores(
    data: ArmPredictions, weights: Floats, settings: EvaluationSettings
) -> dict[str, Any]:
    return {
        m.name: metric_interval(m, data, drawn(m, data, weights), settings.confidence).as_json()
        for m in metrics_of((), settings.calibration_bins)
        if m.name in CALIBRATED
    }


def operating_of(
    classes: tuple[str, ...],
    test: ArmPredictions,
    val: ArmPredictions | None,
    weights: Floats,
    settings: EvaluationSettings,
) -> dict[str, Any]:
    """Per class: the threshold that reaches the wanted sensitivity on VAL, and what TEST says."""
    out: dict[str, Any] = dict.fromkeys(classes)
    for k, name in enumerate(classes):
        if val is None or not (val.targets == k).any():
            continue
        cut = operating_threshold(val.targets, val.probabilities, k, settings.sensitivity)
        called, of_class = test.probabilities[:, k] >= cut, test.targets == k
        level = settings.confidence
        out[name] = {
            "sensitivity_wanted": settings.sensitivity,
            "threshold": cut,
            "sensitivity": _share(called, of_class, test, weights, level),
            "specificity": _share(~called, ~of_class, test, weights, level),
        }
    return out


def conformal_of(
    test: ArmPredictions, val: ArmPredictions | None, weights: Floats, settings: EvaluationSettings
) -> dict[str, Any] | None:
    """Conformal sets fitted on VAL: how often they hold the truth on TEST, and how big they are."""
    if val is None:
        return None
    cut = conformal_cutoff(val.targets, val.probabilities, settings.coverage)
    sets = conformal_sets(test.probabilities, cut)
    held = sets[np.arange(len(test)), test.targets]
    size = sets.sum(1).astype(np.float64)
    return {
        "coverage_wanted": settings.coverage,
        "cutoff": cut,
        "coverage": _share(held, np.ones_like(held), test, weights, settings.confidence),
        "mean_size": mean_interval(size, weights, settings.confidence).as_json(),
        "single_share": float((size == 1).mean()),
        "empty_share": float((size == 0).mean()),
    }


def _share(
    hit: NDArray[np.bool_],
    counted: NDArray[np.bool_],
    test: ArmPredictions,
    weights: Floats,
    level: float,
) -> dict[str, float | None]:
    """The share of hits among the counted images of TEST, with its interval."""
    hits = (hit & counted).astype(np.float64)
    found = mean_interval(hits, weights, level, counted.astype(np.float64))
    return share_interval(found, test.groups[counted], level).as_json()
