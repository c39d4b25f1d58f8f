"""Near-duplicate pairs: shortlisted, verified, scored, and joined only where the links agree."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sonobalance.config import AuditSettings
from sonobalance.data.audit.features import Features
from sonobalance.data.audit.geometry import Evidence, compare
from sonobalance.data.audit.shortlist import Candidate, shortlist
from sonobalance.data.groups import related
from sonobalance.data.manifest import Manifest, Record
from sonobalance.progress import track

PairKind = Literal["exact", "copy", "mirrored", "reframed", "view"]
KEPT_SCORE = 0.05  # pairs below are forgotten
COPY_CORRELATION = 0.8  # the same acquisition, not a neighbouring frame


@dataclass(frozen=True, slots=True)
class Pair:
    """Two images that show the same.

    Attributes:
        a, b: ids, in the manifest's order.
        score: in [0, 1]; 0.5 is as likely as not.
        kind: ``exact`` (same bytes), ``copy`` (same picture and framing), ``reframed`` (same
            picture, cropped or zoomed), ``mirrored``, ``view`` (same lesion, another frame).
        labels: their classes.
        inliers, correlation: see `geometry.Evidence`; 0 and 1 for exact copies.
    """

    a: str
    b: str
    score: float
    kind: PairKind
    labels: tuple[str, str]
    inliers: int = 0
    correlation: float = 1.0

    @property
    def conflict(self) -> bool:
        """Whether the two carry different labels."""
        return "" not in self.labels and self.labels[0] != self.labels[1]

    def as_json(self) -> dict[str, Any]:
        """The pair as it stands in `audit.json`."""
        return {
            "ids": [self.a, self.b], "score": round(self.score, 4), "kind": self.kind,
            "labels": list(self.labels), "inliers": self.inliers,
            "correlation": round(self.correlation, 4),
        }  # fmt: skip


def find_pairs(
    manifest: Manifest, features: Sequence[Features], settings: AuditSettings, seed: int
) -> list[Pair]:
    """Every pair with some evidence of showing the same, also below the threshold, best first.

    Args:
        manifest: the images.
        features: of each image, in the same order.
        settings: size of the shortlist, mirrored or not.
        seed: of the vocabulary.
    """
    records = manifest.records
    candidates = shortlist(features, settings.shortlist_size, seed, mirror=settings.mirrored)
    best: dict[tuple[int, int], Pair] = {}
    exact = _exact(records)
    for (i, j, _), evidence in zip(
        candidates, _verify(features, candidates, settings), strict=True
    ):
        score = likelihood(evidence)
        known = best.get((i, j))
        if score >= KEPT_SCORE and (i, j) not in exact and (not known or score > known.score):
            best[i, j] = _pair(records[i], records[j], score, _kind(evidence), evidence)
    found = [_pair(records[i], records[j], 1.0, "exact", None) for i, j in exact]
    return sorted([*found, *best.values()], key=lambda p: (-p.score, p.a, p.b))


def likelihood(evidence: Evidence) -> float:
    """Score in [0, 1] that two images show the same lesion or tissue."""
    if evidence.transform is None:
        return 0.0
    z = 0.5 * (min(evidence.inliers, 40) - 10) + 14 * (evidence.correlation - 0.42)
    return float(1 / (1 + np.exp(-z)))


def accept(
    manifest: Manifest, pairs: Sequence[Pair], threshold: float, strong: float
) -> list[Pair]:
    """The pairs that join groups.

    In order of score, a pair above `threshold` joins two single images, or an image to a group.
    Two groups that each hold several images are joined by a pair above `strong` only, or by two
    pairs between them, so that one false pair cannot chain groups together.
    """
    sets = related(manifest)
    accepted: list[Pair] = []
    waiting: dict[frozenset[object], Pair] = {}
    for pair in pairs:
        if pair.score < threshold:
            break
        roots = frozenset((sets.find(pair.a), sets.find(pair.b)))
        both_large = len(roots) == 2 and min(sets.size(pair.a), sets.size(pair.b)) > 1
        if both_large and pair.score < strong and roots not in waiting:
            waiting[roots] = pair
            continue
        accepted.append(pair)
        sets.join(pair.a, pair.b)
    return accepted


def _exact(records: Sequence[Record]) -> set[tuple[int, int]]:
    """Pairs of images with the same bytes; each copy is paired with the first."""
    first: dict[tuple[str, int], int] = {}
    pairs = set()
    for i, r in enumerate(records):
        if r.sha256:
            j = first.setdefault((r.sha256, r.frame), i)
            if j != i:
                pairs.add((j, i))
    return pairs


def _verify(
    features: Sequence[Features], candidates: Sequence[Candidate], settings: AuditSettings
) -> list[Evidence]:
    def check(candidate: Candidate) -> Evidence:
        i, j, mirror = candidate
        return compare(features[i], features[j], mirror=mirror)

    with ThreadPoolExecutor(settings.workers) as pool:
        done = pool.map(check, candidates)
        return list(track(done, "verify pairs", len(candidates)))


def _pair(a: Record, b: Record, score: float, kind: PairKind, evidence: Evidence | None) -> Pair:
    labels = (a.label, b.label)
    if evidence is None:
        return Pair(a.id, b.id, score, kind, labels)
    return Pair(a.id, b.id, score, kind, labels, evidence.inliers, evidence.correlation)


def _kind(evidence: Evidence) -> PairKind:
    transform = evidence.transform
    if transform is None or evidence.correlation < COPY_CORRELATION:
        return "view"
    if transform.mirror:
        return "mirrored"
    return "copy" if evidence.overlap > 0.97 and 0.97 < transform.scale_x < 1.03 else "reframed"
