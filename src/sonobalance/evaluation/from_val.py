"""What is fitted on VAL and measured on TEST: temperature, thresholds, conformal sets."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from sonobalance.config import EvaluationSettings
from sonobalance.evaluation.calibration import (
    apply_temperature,
    conformal_cutoff,
    conformal_sets,
    fit_temperature,
    operating_threshold,
    reliability_bins,
)
from sonobalance.evaluation.intervals import mean_interval, number_or_none
from sonobalance.evaluation.metrics import Floats, metrics_of
from sonobalance.evaluation.predictions import ArmPredictions
from sonobalance.evaluation.resampled import drawn, metric_interval

CALIBRATED = ("ece", "brier", "log_loss")


def calibration_of(
    test: ArmPredictions, val: ArmPredictions | None, weights: Floats, settings: EvaluationSettings
) -> dict[str, Any]:
    """The calibration curve of TEST, and what the temperature fitted on VAL makes of it."""
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
        "calibrated": None,
    }
    if val is not None:
        temperature = fit_temperature(val.targets, val.probabilities)
        softened = replace(test, probabilities=apply_temperature(test.probabilities, temperature))
        table = metrics_of((), settings.calibration_bins)
        out["temperature"] = temperature
        out["calibrated"] = {
            m.name: metric_interval(
                m, softened, drawn(m, softened, weights), settings.confidence
            ).as_json()
            for m in table
            if m.name in CALIBRATED
        }
    return out


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
        called = (test.probabilities[:, k] >= cut).astype(np.float64)
        of_class = (test.targets == k).astype(np.float64)
        hits, misses = called * of_class, (1 - called) * (1 - of_class)
        level = settings.confidence
        out[name] = {
            "sensitivity_wanted": settings.sensitivity,
            "threshold": cut,
            "sensitivity": mean_interval(hits, weights, level, of_class).as_json(),
            "specificity": mean_interval(misses, weights, level, 1 - of_class).as_json(),
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
    held = sets[np.arange(len(test)), test.targets].astype(np.float64)
    size = sets.sum(1).astype(np.float64)
    return {
        "coverage_wanted": settings.coverage,
        "cutoff": cut,
        "coverage": mean_interval(held, weights, settings.confidence).as_json(),
        "mean_size": mean_interval(size, weights, settings.confidence).as_json(),
        "single_share": float((size == 1).mean()),
        "empty_share": float((size == 0).mean()),
    }
