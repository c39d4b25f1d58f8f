"""Everything the gates need to judge an image: calibrated once, on real TRAIN images alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sonobalance.classify.probe import Probe
from sonobalance.data.loading import LabelledImages
from sonobalance.synthesis.gates import ClassMatch, Threshold, Typicality
from sonobalance.synthesis.novelty import Diversity, Novelty

FeatureFunction = Callable[[LabelledImages], NDArray[np.floating]]


@dataclass(frozen=True)
class GateModels:
    """The calibrated gates and the models behind them (realism belongs to a generator).

    Attributes:
        ids: of the N real TRAIN images.
        classes: class names, alphabetical.
        extract: images → (M, F) features.
        mean, spread: (F,) of the features over TRAIN, for standardising.
        folds: (N,) inner fold of each TRAIN image.
        probes: one per fold, trained on the real images outside it.
        class_match, typicality, novelty, diversity: the gates.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    extract: FeatureFunction
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    folds: NDArray[np.int64]
    probes: tuple[Probe, ...]
    class_match: ClassMatch
    typicality: Typicality
    novelty: Novelty
    diversity: Diversity

    def features(self, images: LabelledImages) -> NDArray[np.float64]:
        """(N, F) standardised features."""
        if not len(images):
            return np.zeros((0, len(self.mean)))
        out: NDArray[np.float64] = (np.asarray(self.extract(images)) - self.mean) / self.spread
        return out

    def class_probability(
        self, features: NDArray[np.float64], target: int, closest: Sequence[int]
    ) -> NDArray[np.float64]:
        """Probability of a class by the probe that never saw the real image closest to each one.

        Args:
            features: (N, F) standardised.
            target: the class.
            closest: N positions in TRAIN: the heaviest parent, or the nearest image.
        """
        by_fold = np.stack([p.probabilities(features)[:, target] for p in self.probes])
        out: NDArray[np.float64] = by_fold[self.folds[list(closest)], range(len(closest))]
        return out

    def thresholds(self) -> dict[str, Threshold]:
        """Gate → threshold; one per class for the class gate."""
        named = zip(self.classes, self.class_match.thresholds, strict=True)
        return {
            **{f"class_{label}": threshold for label, threshold in named},
            "typicality": self.typicality.threshold,
            "novelty": self.novelty.threshold,
            "diversity": self.diversity.threshold,
        }
