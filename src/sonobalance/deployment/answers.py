"""What the model says about one image, in numbers and in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.deployment.description import Description
from sonobalance.evaluation.calibration import conformal_sets
from sonobalance.notice import NOTICE


@dataclass(frozen=True)
class Answer:
    """The answer to one image.

    Attributes:
        probabilities: class → calibrated probability; they sum to 1.
        predicted: the most probable class; None when the image is refused.
        called: classes whose probability reaches their operating threshold; empty when refused.
        conformal: classes of the conformal set; empty when refused or nothing fits.
        distance: how unlike the TRAIN images it is; None without a reference.
        limit: the largest distance that is answered.
        sentence: the answer in words.
    """

    probabilities: dict[str, float]
    predicted: str | None
    called: tuple[str, ...]
    conformal: tuple[str, ...]
    distance: float | None
    limit: float | None
    sentence: str

    @property
    def refused(self) -> bool:
        """Whether the image is too unlike the TRAIN images to be answered."""
        return self.predicted is None

    def as_json(self) -> dict[str, Any]:
        """The answer as JSON values, with the notice."""
        return {
            "predicted": self.predicted,
            "refused": self.refused,
            "probabilities": self.probabilities,
            "conformal": list(self.conformal),
            "called": list(self.called),
            "distance": self.distance,
            "limit": self.limit,
            "sentence": self.sentence,
            "notice": NOTICE,
        }


def answer(
    description: Description,
    probabilities: NDArray[np.float64],
    distance: float | None,
    limit: float | None,
) -> Answer:
    """The answer to one image.

    Args:
        description: of the bundle.
        probabilities: (K,) calibrated.
        distance: of the image to TRAIN; None without a reference.
        limit: the largest distance that is answered.
    """
    named = dict(zip(description.classes, map(float, probabilities), strict=True))
    if distance is not None and limit is not None and distance > limit:
        return Answer(named, None, (), (), distance, limit, refusal(distance, limit))
    best = max(named, key=lambda name: named[name])
    kept: tuple[str, ...] = ()
    if description.conformal is not None:
        inside = conformal_sets(probabilities[None], description.conformal.cutoff)[0]
        kept = tuple(name for name, held in zip(description.classes, inside, strict=True) if held)
    called = tuple(
        name for name, rule in description.thresholds.items() if named[name] >= rule.threshold
    )
    return Answer(named, best, called, kept, distance, limit, in_words(description, best, kept))


def refusal(distance: float, limit: float) -> str:
    """Why an image is not answered."""
    return (
        f"Not answered: this image is unlike the training images (score {distance:.2f}, "
        f"answered up to {limit:.2f}). It may be no ultrasound image of the kind the model knows."
    )


def in_words(description: Description, best: str, kept: tuple[str, ...]) -> str:
    """The most probable class and the conformal set in one or two sentences."""
    conformal = description.conformal
    if conformal is None:
        return f"Most probable: {best}. No conformal set was fitted."
    wanted = f"{100 * conformal.coverage_wanted:g}%"
    if not kept:
        return (
            f"Most probable: {best}, but no class is probable enough for the {wanted} set: "
            "treat this image as undecided."
        )
    if len(kept) == 1:
        text = f"The {wanted} set holds {kept[0]} alone."
    elif len(kept) == len(description.classes):
        text = f"The {wanted} set holds every class: the model cannot tell them apart here."
    else:
        text = f"The {wanted} set holds {' and '.join(kept)}: the model cannot choose between them."
    seen = conformal.coverage.value
    tested = "test images" if description.leaky else "unseen test images"
    held = "" if seen is None else f" On {tested} such sets held the truth in {seen:.0%}."
    return f"Most probable: {best}. {text}{held}"
