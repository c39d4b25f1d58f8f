"""Explanation by example: the TRAIN images that the network finds most like one image.

The likeness is the cosine of the pooled features, the input of the head. Real images and synthetic
ones are ranked apart, so that a synthetic twin never hides the real image it was made from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.classify.features import Features, model_features
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.data.loading import LabelledImages
from sonobalance.evaluation.intervals import mean_interval
from sonobalance.explanation.study import Study

REAL_SHOWN, SYNTHETIC_SHOWN = 3, 2
JUDGED = 5


@dataclass(frozen=True)
class Known:
    """What the network learned from.

    Attributes:
        real: TRAIN images.
        synthetic: accepted synthetic images of the explained arm, or None.
    """

    real: LabelledImages
    synthetic: LabelledImages | None = None


@dataclass(frozen=True)
class Likeness:
    """Every explained image against every known one.

    Attributes:
        known: the images looked up.
        real, synthetic: (N, M) cosines in [-1, 1]; the latter None without synthetic images.
    """

    known: Known
    real: NDArray[np.float32]
    synthetic: NDArray[np.float32] | None

    def nearest(self, i: int) -> list[dict[str, Any]]:
        """The nearest known images of image `i`, the real ones first, each kind nearest first.

        Returns:
            {"id", "label", "origin": "real" or "synthetic", "likeness": the cosine}.
        """
        found = _top(self.known.real, self.real[i], REAL_SHOWN, "real")
        if self.known.synthetic is not None and self.synthetic is not None:
            found += _top(self.known.synthetic, self.synthetic[i], SYNTHETIC_SHOWN, "synthetic")
        return found


def likeness(study: Study, known: Known) -> Likeness | None:
    """Compare the images of a study with the known ones; None for networks without features."""
    if not isinstance(study.model, AttentiveClassifier):
        return None
    explained = _features(study.model, study.images)
    synthetic = None
    if known.synthetic is not None and len(known.synthetic):
        synthetic = explained @ _features(study.model, known.synthetic).T
    return Likeness(known, explained @ _features(study.model, known.real).T, synthetic)


def agreement(study: Study, found: Likeness) -> dict[str, Any]:
    """How often the five nearest real TRAIN images have the class in question.

    Returns:
        {"neighbours": 5, "predicted", "true": {"value", "low", "high", "chance"}}: mean share of
        the neighbours with the predicted, or the true, class; chance is that class's share of
        TRAIN.
    """
    count = min(JUDGED, found.real.shape[1])
    nearest = np.argsort(-found.real, axis=1, kind="stable")[:, :count]
    labels = found.known.real.targets.numpy()
    share = np.bincount(labels, minlength=len(study.images.classes)) / len(labels)
    weights = study.resamples(range(len(study)))
    out: dict[str, Any] = {"neighbours": count}
    for name, wanted in (("predicted", study.predicted), ("true", study.labels)):
        same = (labels[nearest] == wanted[:, None]).mean(1)
        interval = mean_interval(same, weights, study.settings.confidence)
        out[name] = interval.as_json() | {"chance": float(share[wanted].mean())}
    return out


def _features(model: AttentiveClassifier, images: LabelledImages) -> Features:
    """(N, F) float32 rows of norm 1."""
    found = model_features(model, images, image_size_px=images.pixels.shape[-1])
    length = np.linalg.norm(found, axis=1, keepdims=True)
    rows: Features = found / np.maximum(length, 1e-12)
    return rows


def _top(
    images: LabelledImages, scores: NDArray[np.float32], count: int, origin: str
) -> list[dict[str, Any]]:
    order: Sequence[int] = np.argsort(-scores, kind="stable")[:count].tolist()
    return [
        {
            "id": images.ids[k],
            "label": images.classes[int(images.targets[k])],
            "origin": origin,
            "likeness": round(float(scores[k]), 4),
        }
        for k in order
    ]
