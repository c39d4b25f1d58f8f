"""One class of one round: a pool of candidates, all their scores, and who is kept and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonobalance.data.loading import LabelledImages
from sonobalance.synthesis.gate_models import GateModels
from sonobalance.synthesis.gates import Realism, Scores
from sonobalance.synthesis.generator import ImageSource
from sonobalance.synthesis.ledger import Candidate
from sonobalance.synthesis.provenance import describe_parents, parent_ids

GATES = {
    "realism": "realism: a discriminator takes it for less real than almost every real image, and "
    "others of its pool for more real",
    "class": "class: a classifier of real images does not find the class asked for",
    "hard": "class: near the boundary, and the share of hard examples is used up",
    "typicality": "typicality: farther from real images of the class than these are",
    "novelty": "novelty: a copy of a TRAIN image",
    "diversity": "diversity: a twin of an accepted image",
    "surplus": "surplus: passed, but the round's share of the class was filled",
}
ACCEPTED, ACCEPTED_HARD = "accepted", "accepted as a hard example"
BY_RANK = "; among the most real of its pool, not in the real range"


@dataclass(frozen=True)
class Pool:
    """Candidates of one class with every score that does not depend on the others.

    Attributes:
        images: N candidates; ids as in `Candidate.id`.
        number: round of the generator.
        target: their class.
        seed: they were drawn with.
        features: (N, F) standardised.
        scores: column of `Candidate` → (N,).
        nearest: (N,) position of the nearest TRAIN image.
        parents: N texts of `describe_parents`.
    """

    images: LabelledImages
    number: int
    target: int
    seed: int
    features: NDArray[np.float64]
    scores: dict[str, Scores]
    nearest: Tensor
    parents: tuple[str, ...]


def make_pool(
    generator: ImageSource,
    gates: GateModels,
    realism: Realism,
    *,
    number: int,
    target: int,
    size: int,
    seed: int,
    truncation: float,
    prefix: str = "",
) -> Pool:
    """Generate and score `size` candidates of a class in round `number`.

    Their ids are `<prefix>-<class>-<index>`, the prefix being `r<round>` when empty.
    """
    targets = torch.full((size,), target, dtype=torch.int64)
    samples = generator.sample(targets, seed=seed, truncation=truncation)
    label = gates.classes[target]
    ids = tuple(f"{prefix or f'r{number}'}-{label}-{i:05d}" for i in range(size))
    images = LabelledImages(samples.pixels, targets, ids, gates.classes)
    features = gates.features(images)
    log_r1, log_r2 = (x.double().numpy() for x in generator.log_ratios(images.pixels, targets))
    novelty, nearest = gates.novelty.score(images.pixels)
    parents = tuple(describe_parents(p) for p in samples.parents)
    closest = _closest(parents, nearest, gates)
    scores = {
        "realism": realism.score(log_r1, log_r2, target),
        "class_probability": gates.class_probability(features, target, closest),
        "typicality": gates.typicality.score(features, target),
        "novelty": novelty,
        "log_r1": log_r1,
        "log_r2": log_r2,
        "nearest_distance": novelty,
    }
    return Pool(images, number, target, seed, features, scores, nearest, parents)


def _closest(parents: Sequence[str], nearest: Tensor, gates: GateModels) -> list[int]:
    """Position in TRAIN of the heaviest parent, or of the nearest image without parents."""
    place = {key: i for i, key in enumerate(gates.ids)}
    out = []
    for text, near in zip(parents, nearest.tolist(), strict=True):
        known = parent_ids(text)
        out.append(place.get(known[0], near) if known else near)
    return out


def select(
    pool: Pool,
    gates: GateModels,
    realism: Realism,
    tables: tuple[Tensor, Tensor],
    *,
    quota: int,
    hard_quota: int,
    realism_share: float,
) -> list[Candidate]:
    """Decide about each candidate in the order they were drawn.

    Args:
        pool: the candidates.
        gates: calibrated on TRAIN.
        realism: gate of this round's discriminators.
        tables: likeness of the pool to all images accepted before (N, A), and to itself (N, N).
        quota: most images to accept.
        hard_quota: most hard examples among them.
        realism_share: share of the pool that counts as real whatever the gate says.
    """
    failed, hard = _first_failures(pool, gates, realism, realism_share)
    to_accepted, to_pool = tables
    likest = to_accepted.max(1).values if to_accepted.shape[1] else torch.full((len(failed),), -1.0)
    left, hard_left, out = quota, hard_quota, []
    for i, reason in enumerate(failed):
        diversity = float((1 - likest[i]).clamp(0, 1))
        twin = diversity < gates.diversity.threshold.value
        why = reason or ("diversity" if twin else "" if left else "surplus")
        if not why and hard[i] and not hard_left:
            why = "hard"
        if not why:
            left, hard_left = left - 1, hard_left - int(hard[i])
            likest = torch.maximum(likest, to_pool[:, i])
        accepted = ACCEPTED_HARD if hard[i] else ACCEPTED
        if not realism.threshold.admits(pool.scores["realism"][i]):
            accepted += BY_RANK
        out.append(_candidate(
            pool, i, gates, diversity=diversity, kept=not why, reason=GATES.get(why, accepted)
        ))  # fmt: skip
    return out


def _first_failures(
    pool: Pool, gates: GateModels, realism: Realism, share: float
) -> tuple[list[str], NDArray[np.bool_]]:
    """The first gate before diversity that each candidate fails (or ""), and who is hard."""
    scores, target = pool.scores, pool.target
    hard = gates.class_match.is_hard(scores["class_probability"], target)
    best = realism.most_real(scores["log_r1"], scores["log_r2"], target, share)
    passed = {
        "realism": realism.threshold.admits(scores["realism"]) | best,
        "class": gates.class_match.admits(scores["class_probability"], target) | hard,
        "typicality": gates.typicality.threshold.admits(scores["typicality"]),
        "novelty": gates.novelty.threshold.admits(scores["novelty"]),
    }
    failed = [
        next((gate for gate, ok in passed.items() if not ok[i]), "")
        for i in range(len(pool.images))
    ]
    return failed, hard


def _candidate(
    pool: Pool, i: int, gates: GateModels, *, diversity: float, kept: bool, reason: str
) -> Candidate:
    scores = {name: float(column[i]) for name, column in pool.scores.items()}
    return Candidate(
        id=pool.images.ids[i], round=pool.number, label=gates.classes[pool.target],
        seed=pool.seed, index=i, diversity=diversity, nearest_id=gates.ids[
            int(pool.nearest[i])
        ], parents=pool.parents[i], kept=kept, reason=reason, **scores,
    )  # fmt: skip
