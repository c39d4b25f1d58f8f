"""Curves over all thresholds: ROC and decision curve, one class against the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from sonobalance.evaluation.metrics import Floats, Integers

DECISION_THRESHOLDS = np.linspace(0.02, 0.98, 49)


def roc_points(targets: Integers, probabilities: Floats, k: int) -> dict[str, Any] | None:
    """False and true positive rates of class `k` from (0, 0) to (1, 1); None without both kinds."""
    positive = targets == k
    if positive.all() or not positive.any():
        return None
    fpr, tpr, _ = roc_curve(positive, probabilities[:, k])
    return {"fpr": fpr.tolist(), "tpr": tpr.tolist()}


def decision_points(targets: Integers, probabilities: Floats, k: int) -> dict[str, Any]:
    """Net benefit of acting on class `k` at each threshold t (Vickers & Elkin 2006).

    TP / n - FP / n · t / (1 - t), beside that of acting on every image.
    """
    positive, odds = targets == k, DECISION_THRESHOLDS / (1 - DECISION_THRESHOLDS)
    acted = probabilities[:, k][:, None] >= DECISION_THRESHOLDS
    benefit = (acted & positive[:, None]).mean(0) - (acted & ~positive[:, None]).mean(0) * odds
    everyone = positive.mean() - (1 - positive.mean()) * odds
    return {
        "threshold": DECISION_THRESHOLDS.tolist(),
        "net_benefit": benefit.tolist(),
        "act_on_all": everyone.tolist(),
    }
