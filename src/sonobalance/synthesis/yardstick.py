"""Everything the loop learns from the real TRAIN images before it looks at a synthetic one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sonobalance.classify.probe import Probe
from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.synthesis.gates import ClassMatch, Threshold, Typicality
from sonobalance.synthesis.inner import InnerValidation
from sonobalance.synthesis.novelty import Diversity, Novelty

FeatureFunction = Callable[[LabelledImages], NDArray[np.floating]]
LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Yardstick:
    """Real TRAIN images, their features, and the gates that they calibrate.

    Attributes:
        train: real TRAIN images at the generator's size.
        groups: their keys of relatives.
        extract: images → (N, F) features.
        mean, spread: (F,) of the features over TRAIN, for standardising.
        inner: grouped cross-validation inside TRAIN.
        probes: one per fold of its first deal.
        class_match, typicality, novelty, diversity: calibrated gates (realism depends on the
            round's discriminators and is calibrated in each round).
    """

    train: LabelledImages
    groups: tuple[str, ...]
    extract: FeatureFunction
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    inner: InnerValidation
    probes: tuple[Probe, ...]
    class_match: ClassMatch
    typicality: Typicality
    novelty: Novelty
    diversity: Diversity

    @classmethod
    def of(
        cls,
        train: LabelledImages,
        groups: Sequence[str],
        extract: FeatureFunction,
        settings: SynthesisSettings,
        *,
        seed: int,
        device: torch.device | str,
    ) -> Yardstick:
        """Compute features, deal folds, calibrate the gates."""
        raw = np.asarray(extract(train), np.float64)
        mean, spread = raw.mean(0), raw.std(0)
        spread = np.where(spread > LEAST_SPREAD, spread, 1.0)
        features, targets = (raw - mean) / spread, train.targets.numpy()
        inner = InnerValidation.of(features, targets, groups, settings, seed)
        novelty = Novelty.calibrated(
            train, groups, caught_copies=settings.caught_copies,
            false_copies=settings.false_copies, seed=seed, device=device,
        )  # fmt: skip
        return cls(
            train, tuple(groups), extract, mean, spread, inner, tuple(inner.probes()),
            ClassMatch.calibrated(inner.cross_fitted(), targets, settings),
            Typicality.calibrated(features, targets, inner.groups, settings),
            novelty, Diversity(novelty.threshold, device),
        )  # fmt: skip

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
        out: NDArray[np.float64] = by_fold[self.inner.folds[0][list(closest)], range(len(closest))]
        return out

    def thresholds(self) -> dict[str, Threshold]:
        """Gate → threshold; one per class for the class gate."""
        named = zip(self.train.classes, self.class_match.thresholds, strict=True)
        return {
            **{f"class_{label}": threshold for label, threshold in named},
            "typicality": self.typicality.threshold,
            "novelty": self.novelty.threshold,
            "diversity": self.diversity.threshold,
        }
