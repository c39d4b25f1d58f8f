"""Localisation scores of many images, and their means with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.evaluation.intervals import mean_interval, number_or_none
from sonobalance.explanation.localisation import (
    RATIO,
    RATIO_SENTENCE,
    SCORES,
    Map,
    Regions,
    Scored,
    scores_of,
)
from sonobalance.explanation.study import Study


@dataclass
class ScoreTable:
    """Scores of every map and image, gathered one by one.

    Attributes:
        rows: map → image position → score name → score.
    """

    rows: dict[str, dict[int, dict[str, Scored]]] = field(default_factory=dict)

    def add(self, name: str, i: int, map_: Map, regions: Regions) -> None:
        """Score one map of image `i` in the image's own geometry."""
        self.rows.setdefault(name, {})[i] = scores_of(map_, regions)

    def get(self, name: str, i: int, score: str) -> float | None:
        """One score, or None where it was not measured."""
        found = self.rows.get(name, {}).get(i, {}).get(score)
        return None if found is None else found.value

    def images(self, name: str, score: str) -> list[int]:
        """Positions of the images on which a map has a score."""
        return [i for i, found in self.rows.get(name, {}).items() if score in found]

    def column(self, name: str, score: str, index: Sequence[int]) -> NDArray[np.float64]:
        """(n, 2) value and chance of one score on the images at `index`."""
        return np.array([self.rows[name][i][score] for i in index], np.float64)

    def summary(
        self, name: str, study: Study, keep: NDArray[np.bool_] | None = None
    ) -> dict[str, dict[str, float | None]]:
        """Mean of each score over the images kept, with clustered interval and chance.

        Returns:
            Score → {"value", "low", "high", "chance"}, without the scores that no image has.
        """
        out: dict[str, dict[str, float | None]] = {}
        level = study.settings.confidence
        for score in SCORES:
            index = [i for i in self.images(name, score.name) if keep is None or keep[i]]
            if not index:
                continue
            weights = study.resamples(index)
            value, chance = self.column(name, score.name, index).T
            mean = mean_interval(value, weights, level).as_json()
            out[score.name] = mean | {"chance": float(chance.mean())}
            if score.name == "energy":
                ratio = mean_interval(value, weights, level, chance).as_json()
                out[RATIO] = ratio | {"chance": 1.0}
        return out

    def lines(self, study: Study) -> Iterable[list[Any]]:
        """One line per map, image and score, with the columns `LINE_COLUMNS`."""
        classes = study.images.classes
        for name, images in self.rows.items():
            for i, found in images.items():
                who = [study.images.ids[i], study.groups[i]]
                what = [classes[study.labels[i]], classes[study.predicted[i]]]
                for score, (value, chance) in found.items():
                    yield [*who, *what, name, score, number_or_none(value), chance]


LINE_COLUMNS = ("id", "group", "label", "predicted", "map", "score", "value", "chance")


def score_infos() -> list[dict[str, Any]]:
    """Name, direction and meaning of every score, in the order of display."""
    infos = [
        {"name": s.name, "higher_is_better": s.higher_is_better, "sentence": s.sentence}
        for s in SCORES
    ]
    at = next(i for i, s in enumerate(SCORES) if s.name == "energy") + 1
    infos.insert(at, {"name": RATIO, "higher_is_better": True, "sentence": RATIO_SENTENCE})
    return infos
