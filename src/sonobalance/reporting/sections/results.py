"""How well the classifiers do on TEST, with intervals, side by side."""

from __future__ import annotations

from typing import Any

from sonobalance.reporting.artefacts import RunFiles, as_dict, as_list
from sonobalance.reporting.formatting import finite, metric_name
from sonobalance.reporting.score_figures import (
    calibration_figure,
    decision_figure,
    forest_figure,
    roc_figure,
)
from sonobalance.reporting.section import Section
from sonobalance.reporting.sections.verdict import arm_sentence

KEY_METRICS = (
    "accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece", "brier", "log_loss",
)  # fmt: skip
FOREST_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")


def results(run: RunFiles) -> Section:
    """Metrics, paired differences, confusion, ROC and calibration of every arm on TEST."""
    document = run.evaluation
    arms = as_dict(document.get("arms"))
    classes = run.classes
    meanings = {m.get("name"): m.get("sentence", "") for m in as_list(document.get("metrics"))}
    paired = _paired(document)
    values = {
        "present": bool(arms),
        "n": document.get("n"),
        "groups": document.get("groups"),
        "n_by_class": as_dict(document.get("n_by_class")),
        "groups_by_class": as_dict(document.get("groups_by_class")),
        "arms": list(arms),
        "classes": classes,
        "key_metrics": _metric_rows(arms, [m for m in KEY_METRICS if _known(arms, m)], meanings),
        "class_metrics": _metric_rows(arms, _other_metrics(arms), meanings),
        "arm_sentences": [(arm, arm_sentence(arm)) for arm in arms if arm_sentence(arm)],
        "paired": paired,
        "paired_shown": [row for row in paired if row.get("metric") in FOREST_METRICS],
        "several": len({row["compared"] for row in paired}) > 1,
        "forest": forest_figure([r for r in paired if r.get("metric") in FOREST_METRICS]),
        "confusion": _confusion(as_dict(document.get("confusion"))),
        "roc": roc_figure(as_dict(document.get("roc")), classes, arms),
        "decision": decision_figure(as_dict(document.get("decision")), classes),
        "calibration_figure": calibration_figure(as_dict(document.get("calibration"))),
        "calibration": as_dict(document.get("calibration")),
        "temperatures": {
            arm: value
            for arm, value in as_dict(document.get("calibration")).items()
            if as_dict(value).get("uncalibrated")
        },
        "operating": _operating(as_dict(document.get("operating"))),
        "conformal": {
            k: v for k, v in as_dict(document.get("conformal")).items() if isinstance(v, dict)
        },
        "warnings": as_list(document.get("warnings")),
        "method": document.get("method", ""),
        "confidence": finite(as_dict(document.get("settings")).get("confidence")) or 0.95,
    }
    return Section("results", "Results on TEST", values, ("evaluation.json", "predictions.csv"))


def _paired(document: dict[str, Any]) -> list[dict[str, Any]]:
    """The paired differences with the reader's name of the metric and what the interval says.

    Of two arms that were compared with each other the second comparison is left out.
    """
    rows = [as_dict(row) for row in as_list(document.get("paired"))]
    pairs = list(dict.fromkeys((row.get("arm"), row.get("against")) for row in rows))
    shown = {pair for i, pair in enumerate(pairs) if pair[::-1] not in pairs[:i]}
    return [
        row
        | {
            "name": metric_name(str(row.get("metric", ""))),
            "judged": row.get("verdict"),
            "compared": f"{row.get('arm')} − {row.get('against')}",
        }
        for row in rows
        if (row.get("arm"), row.get("against")) in shown
    ]


def _known(arms: dict[str, Any], metric: str) -> bool:
    return any(metric in as_dict(arm) for arm in arms.values())


def _other_metrics(arms: dict[str, Any]) -> list[str]:
    names: dict[str, None] = {}
    for arm in arms.values():
        names |= dict.fromkeys(as_dict(arm))
    return [name for name in names if name not in KEY_METRICS]


def _metric_rows(
    arms: dict[str, Any], metrics: list[str], meanings: dict[Any, str]
) -> list[dict[str, Any]]:
    return [
        {
            "name": metric_name(metric),
            "meaning": meanings.get(metric, ""),
            "cells": [as_dict(as_dict(arm).get(metric)) for arm in arms.values()],
        }
        for metric in metrics
    ]


def _confusion(matrices: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Per arm and true class: its count and, per predicted class, count and share of the row."""
    out: dict[str, list[dict[str, Any]]] = {}
    for arm, matrix in matrices.items():
        out[arm] = []
        for row in as_list(matrix):
            total = sum(row)
            cells = [{"count": n, "share": n / total if total else 0.0} for n in row]
            out[arm].append({"total": total, "cells": cells})
    return out


def _operating(points: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"arm": arm, "label": label, **as_dict(point)}
        for arm, by_class in points.items()
        for label, point in as_dict(by_class).items()
        if point
    ]
