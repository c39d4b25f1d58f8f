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
from sonobalance.explanation.measure import CONTROLS, measure_cheap
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
        after: whether this arm is what the explained one is to be compared to, as an arm with
            synthetic images is to one without; else it comes before.
    """

    name: str
    model: nn.Module
    layer: Layer
    probabilities: NDArray[np.float64]
    after: bool = False


def compared(study: Study, table: ScoreTable, rival: Rival, arm: str, shown: Bar) -> dict[str, Any]:
    """Paired change of every score from one arm's maps to the other's, on the same images.

    Each model explains the class that it predicts, or both the true one.

    Returns:
        {"before", "after": arms, "maps": {MAP: {SCORE: {"before", "after": means, "difference",
        "low", "high", "verdict"}}}}, and "by_class": {CLASS: the same maps} for the shortcuts.
    """
    other = replace(study, model=rival.model, layer=rival.layer, probabilities=rival.probabilities)
    others = ScoreTable()
    measure_cheap(other, others, (), shown)
    tables = (table, others) if rival.after else (others, table)
    names = [name for name in table.rows if name not in CONTROLS and name in others.rows]
    classes = {name: study.labels == k for k, name in enumerate(study.images.classes)}
    return {
        "before": arm if rival.after else rival.name,
        "after": rival.name if rival.after else arm,
        "maps": {name: _changes(study, tables, name) for name in names},
        "by_class": {
            label: {name: _changes(study, tables, name, keep) for name in names}
            for label, keep in classes.items()
            if keep.any()
        },
    }


def _changes(
    study: Study,
    tables: tuple[ScoreTable, ScoreTable],
    name: str,
    keep: NDArray[np.bool_] | None = None,
) -> dict[str, Any]:
    out = {}
    for score in SCORES:
        index = [i for i in tables[0].images(name, score.name) if keep is None or keep[i]]
        if not index:
            continue
        then, now = (t.column(name, score.name, index) for t in tables)
        weights, level = study.resamples(index), study.settings.confidence
        change, up = now[:, 0] - then[:, 0], score.higher_is_better
        means = {"before": float(then[:, 0].mean()), "after": float(now[:, 0].mean())}
        out[score.name] = means | _row(mean_interval(change, weights, level), up)
        if score.name == "energy":
            chance = float(now[:, 1].mean())
            ratios = {when: value / chance for when, value in means.items()}
            out[RATIO] = ratios | _row(mean_interval(change, weights, level, now[:, 1]), up)
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
