"""Everything the loop learns from the real TRAIN images before it looks at a synthetic one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.synthesis.gate_models import FeatureFunction, GateModels
from sonobalance.synthesis.gates import ClassMatch, Typicality
from sonobalance.synthesis.inner import InnerValidation
from sonobalance.synthesis.novelty import Diversity, Novelty

LEAST_SPREAD = 1e-6


@dataclass(frozen=True)
class Yardstick:
    """Real TRAIN images, the gates that they calibrate, and the judge of a round.

    Attributes:
        train: real TRAIN images at the generator's size.
        gates: calibrated on them.
        inner: grouped cross-validation inside TRAIN of the images as the generator draws them.
        judge: the same of the images as the classifier sees them; it decides what a round is worth.
            Smaller images look alike to it, real and synthetic, so that `inner` would flatter
            synthesis.
    """

    train: LabelledImages
    gates: GateModels
    inner: InnerValidation
    judge: InnerValidation

    @classmethod
    def of(
        cls,
        train: LabelledImages,
        groups: Sequence[str],
        extract: FeatureFunction,
        settings: SynthesisSettings,
        *,
        seen: LabelledImages | None = None,
        share: float = 1.0,
        seed: int,
        device: torch.device | str,
    ) -> Yardstick:
        """Compute features, deal folds, calibrate the gates; arguments as of `grow`."""
        raw = np.asarray(extract(train), np.float64)
        mean, spread = raw.mean(0), raw.std(0)
        spread = np.where(spread > LEAST_SPREAD, spread, 1.0)
        features, targets = (raw - mean) / spread, train.targets.numpy()
        inner = InnerValidation.of(features, targets, groups, settings, seed)
        novelty = Novelty.calibrated(
            train, groups, caught_copies=settings.caught_copies,
            false_copies=settings.false_copies, seed=seed, device=device,
        )  # fmt: skip
        gates = GateModels(
            train.ids, train.classes, extract, mean, spread, inner.folds[0], tuple(inner.probes()),
            ClassMatch.calibrated(inner.cross_fitted(), targets, settings),
            Typicality.calibrated(features, targets, inner.groups, settings),
            novelty, Diversity(novelty.threshold, device),
        )  # fmt: skip
        return cls(
            train, gates, inner,
            inner.seeing(features if seen is None else gates.features(seen), share),
        )  # fmt: skip
