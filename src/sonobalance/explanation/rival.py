"""Before and after: the same images explained by the model of another arm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sonobalance.evaluation.intervals import Interval, mean_interval, number_or_none
from sonobalance.explanation.layers import Layer
from sonobalance.explanation.localisation import RATIO, SCORES
from sonobalance.explanation.maps import CAMS, GATE
from sonobalance.explanation.measure import measure_cheap
from sonobalance.explanation.scoring import ScoreTable
from sonobalance.explanation.study import Study
from sonobalance.progress import Bar


@dataclass(frozen=True)
class Rival:
    """Another arm's model, whose maps are compared with those of the explained one.

    Attributes:
        name: the arm.
        model: (N, 1, S, S) float32 in [-1, 1] → (N, K) logits; the same images and size.
        layer: where its class activation maps look.
        probabilities: (N, K) float64 that it predicts for the images.
    """

    name: str
    model: nn.Module
    layer: Layer
    probabilities: NDArray[np.float64]


def compared(study: Study, table: ScoreTable, rival: Rival, shown: Bar) -> dict[str, Any]:
    """Paired change of every score from the rival's maps to this model's, on the same images.

    Each model explains the class that it predicts, or both the true one.

    Returns:
        {"against", "maps": {MAP: {SCORE: {"difference", "low", "high", "verdict"}}}}.
    """
    other = replace(study, model=rival.model, layer=rival.layer, probabilities=rival.probabilities)
    before = ScoreTable()
    measure_cheap(other, before, (), shown)
    names = [name for name in (*CAMS, GATE) if name in table.rows and name in before.rows]
    return {
        "against": rival.name,
        "maps": {name: _changes(study, table, before, name) for name in names},
    }


def _changes(study: Study, table: ScoreTable, before: ScoreTable, name: str) -> dict[str, Any]:
    out = {}
    for score in SCORES:
        index = table.images(name, score.name)
        if not index:
            continue
        now, then = (t.column(name, score.name, index) for t in (table, before))
        weights, level = study.resamples(index), study.settings.confidence
        change = now[:, 0] - then[:, 0]
        up = score.higher_is_better
        out[score.name] = _row(mean_interval(change, weights, level), up)
        if score.name == "energy":
            out[RATIO] = _row(mean_interval(change, weights, level, now[:, 1]), up)
    return out


def _row(change: Interval, higher_is_better: bool | None) -> dict[str, Any]:
    clear = change.low > 0 or change.high < 0
    better = (change.value > 0) == higher_is_better
    judged = "changed" if higher_is_better is None else ("better" if better else "worse")
    return {
        "difference": number_or_none(change.value),
        "low": number_or_none(change.low),
        "high": number_or_none(change.high),
        "verdict": judged if clear else "no clear difference",
    }
