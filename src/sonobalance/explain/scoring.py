"""Localisation scores of many images, and their means with intervals."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.data.images import Mask
from sonobalance.evaluate.intervals import group_weights, mean_interval, number_or_none
from sonobalance.explain.localisation import (
    RATIO,
    RATIO_SENTENCE,
    SCORES,
    Map,
    Scored,
)
from sonobalance.explain.study import Study
from sonobalance.randomness import numpy_generator


@dataclass
class ScoreTable:
    """Scores of every map and image, gathered one by one.

    Attributes:
        rows: map → image position → score name → score.
    """

    rows: dict[str, dict[int, dict[str, Scored]]] = field(default_factory=dict)

    def add(self, name: str, i: int, map_: Map, lesion: Mask) -> None:
        """Score one map of image `i` in the image's own geometry."""
        found = {score.name: score.function(map_, lesion) for score in SCORES}
        self.rows.setdefault(name, {})[i] = found

    def get(self, name: str, i: int, score: str) -> float | None:
        """One score, or None where it was not measured."""
        found = self.rows.get(name, {}).get(i)
        return None if found is None else found[score].value

    def summary(
        self, name: str, study: Study, keep: NDArray[np.bool_] | None = None
    ) -> dict[str, dict[str, float | None]]:
        """Mean of each score over the images kept, with clustered interval and chance.

        Returns:
            Score → {"value", "low", "high", "chance"}; empty where no image is kept.
        """
        index = [i for i in self.rows.get(name, {}) if keep is None or keep[i]]
        if not index:
            return {}
        generator = numpy_generator(study.seed, "explain", "bootstrap")
        weights = group_weights(study.groups[index], study.settings.resamples, generator)
        out = {}
        for score in SCORES:
            table = np.array([self.rows[name][i][score.name] for i in index])
            value, chance = table[:, 0], table[:, 1]
            level = study.settings.confidence
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
