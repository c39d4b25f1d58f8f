"""One class of one round: a pool of candidates, all their scores, and who is kept and why."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.gan.sampling import Samples
from sonobalance.synthesis.gates import Realism, Scores
from sonobalance.synthesis.generator import ImageGenerator
from sonobalance.synthesis.ledger import Candidate
from sonobalance.synthesis.provenance import describe_parents, parent_ids
from sonobalance.synthesis.yardstick import Yardstick

GATES = {
    "realism": "realism: a discriminator takes it for less real than almost every real image",
    "class": "class: a classifier of real images does not find the class asked for",
    "hard": "class: near the boundary, and the share of hard examples is used up",
    "typicality": "typicality: farther from real images of the class than these are",
    "novelty": "novelty: a copy of a TRAIN image",
    "diversity": "diversity: a twin of an accepted image",
    "surplus": "surplus: passed, but the round's share of the class was filled",
}
ACCEPTED, ACCEPTED_HARD = "accepted", "accepted as a hard example"


@dataclass(frozen=True)
class Pool:
    """Candidates of one class with every score that does not depend on the others.

    Attributes:
        images: N candidates; ids as in `Candidate.id`.
        target: their class.
        seed: they were drawn with.
        features: (N, F) standardised.
        scores: column of `Candidate` → (N,).
        nearest: (N,) position of the nearest TRAIN image.
        parents: N texts of `describe_parents`.
    """

    images: LabelledImages
    target: int
    seed: int
    features: NDArray[np.float64]
    scores: dict[str, Scores]
    nearest: Tensor
    parents: tuple[str, ...]

    def relatives(self, yardstick: Yardstick) -> list[frozenset[int]]:
        """For each candidate, its parents' and its nearest image's positions in TRAIN."""
        place = {key: i for i, key in enumerate(yardstick.train.ids)}
        return [
            frozenset({near, *(place[key] for key in parent_ids(text) if key in place)})
            for near, text in zip(self.nearest.tolist(), self.parents, strict=True)
        ]


def make_pool(
    generator: ImageGenerator,
    yardstick: Yardstick,
    realism: Realism,
    *,
    number: int,
    target: int,
    size: int,
    seed: int,
    truncation: float,
) -> Pool:
    """Generate and score `size` candidates of a class in round `number`."""
    targets = torch.full((size,), target, dtype=torch.int64)
    samples = generator.sample(targets, seed=seed, truncation=truncation)
    label = yardstick.train.classes[target]
    ids = tuple(f"r{number}-{label}-{i:05d}" for i in range(size))
    images = LabelledImages(samples.pixels, targets, ids, yardstick.train.classes)
    features = yardstick.features(images)
    log_r1, log_r2 = (x.double().numpy() for x in generator.log_ratios(images.pixels, targets))
    novelty, nearest = yardstick.novelty.score(images.pixels)
    closest = _closest(samples, nearest, yardstick)
    scores = {
        "realism": realism.score(log_r1, log_r2, target),
        "class_probability": yardstick.class_probability(features, target, closest),
        "typicality": yardstick.typicality.score(features, target),
        "novelty": novelty,
        "log_r1": log_r1,
        "log_r2": log_r2,
        "nearest_distance": novelty,
    }
    parents = tuple(describe_parents(p) for p in samples.parents)
    return Pool(images, target, seed, features, scores, nearest, parents)


def _closest(samples: Samples, nearest: Tensor, yardstick: Yardstick) -> list[int]:
    """Position in TRAIN of the heaviest parent, or of the nearest image without parents."""
    place = {key: i for i, key in enumerate(yardstick.train.ids)}
    out = []
    for parents, near in zip(samples.parents, nearest.tolist(), strict=True):
        known = parent_ids(describe_parents(parents))
        out.append(place.get(known[0], near) if known else near)
    return out


def select(
    pool: Pool,
    yardstick: Yardstick,
    realism: Realism,
    tables: tuple[Tensor, Tensor],
    *,
    quota: int,
    settings: SynthesisSettings,
) -> list[Candidate]:
    """Decide about each candidate in the order they were drawn.

    Args:
        pool: the candidates.
        yardstick: gates calibrated on TRAIN.
        realism: gate of this round's discriminators.
        tables: likeness of the pool to all images accepted before (N, A), and to itself (N, N).
        quota: most images to accept.
        settings: for the share of hard examples.
    """
    failed, hard = _first_failures(pool, yardstick, realism)
    to_accepted, to_pool = tables
    likest = to_accepted.max(1).values if to_accepted.shape[1] else torch.full((len(failed),), -1.0)
    hard_left = round(settings.hard_share * quota)
    left, out = quota, []
    for i, reason in enumerate(failed):
        diversity = float((1 - likest[i]).clamp(0, 1))
        twin = diversity < yardstick.diversity.threshold.value
        why = reason or ("diversity" if twin else "" if left else "surplus")
        if not why and hard[i] and not hard_left:
            why = "hard"
        if not why:
            left, hard_left = left - 1, hard_left - int(hard[i])
            likest = torch.maximum(likest, to_pool[:, i])
        accepted = ACCEPTED_HARD if hard[i] else ACCEPTED
        out.append(_candidate(
            pool, i, yardstick, diversity=diversity, kept=not why, reason=GATES.get(why, accepted)
        ))  # fmt: skip
    return out


def _first_failures(
    pool: Pool, yardstick: Yardstick, realism: Realism
) -> tuple[list[str], NDArray[np.bool_]]:
    """The first gate before diversity that each candidate fails (or ""), and who is hard."""
    scores, target = pool.scores, pool.target
    hard = yardstick.class_match.is_hard(scores["class_probability"], target)
    passed = {
        "realism": realism.threshold.admits(scores["realism"]),
        "class": yardstick.class_match.admits(scores["class_probability"], target) | hard,
        "typicality": yardstick.typicality.threshold.admits(scores["typicality"]),
        "novelty": yardstick.novelty.threshold.admits(scores["novelty"]),
    }
    failed = [
        next((gate for gate, ok in passed.items() if not ok[i]), "")
        for i in range(len(pool.images))
    ]
    return failed, hard


def _candidate(
    pool: Pool, i: int, yardstick: Yardstick, *, diversity: float, kept: bool, reason: str
) -> Candidate:
    scores = {name: float(column[i]) for name, column in pool.scores.items()}
    number = int(pool.images.ids[i][1:].split("-", 1)[0])
    return Candidate(
        id=pool.images.ids[i], round=number, label=yardstick.train.classes[pool.target],
        seed=pool.seed, index=i, diversity=diversity, nearest_id=yardstick.train.ids[
            int(pool.nearest[i])
        ], parents=pool.parents[i], kept=kept, reason=reason, **scores,
    )  # fmt: skip
