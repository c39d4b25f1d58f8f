"""Near-duplicate pairs: shortlisted, verified, scored, and joined only where the links agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sonobalance.config import AuditSettings
from sonobalance.data.audit.closer import DOUBT, Scored, look_closer
from sonobalance.data.audit.evidence import Evidence, compare, likelihood
from sonobalance.data.audit.features import Features
from sonobalance.data.audit.shortlist import Candidates, shortlist
from sonobalance.data.audit.workers import on_each
from sonobalance.data.groups import related
from sonobalance.data.manifest import Manifest, Record

PairKind = Literal["exact", "copy", "mirrored", "reframed", "view"]
KEPT_SCORE = 0.05  # pairs below are forgotten
CHUNK = 512  # pairs that one thread verifies at a time
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
        inliers, coherent, correlation: see `Evidence`; 0, 0 and 1 for exact copies.
    """

    a: str
    b: str
    score: float
    kind: PairKind
    labels: tuple[str, str]
    inliers: int = 0
    coherent: int = 0
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
            "coherent": self.coherent, "correlation": round(self.correlation, 4),
        }  # fmt: skip


def exact_pairs(manifest: Manifest) -> list[Pair]:
    """Images with the same bytes and frame; each copy is paired with the first."""
    first: dict[tuple[str, int], Record] = {}
    pairs = []
    for r in manifest:
        original = first.setdefault((r.sha256, r.frame), r) if r.sha256 else r
        if original is not r:
            pairs.append(Pair(original.id, r.id, 1.0, "exact", (original.label, r.label)))
    return pairs


def near_pairs(
    manifest: Manifest, features: Sequence[Features], settings: AuditSettings, seed: int
) -> list[Pair]:
    """Every pair with some evidence of showing the same, also below the threshold, best first.

    Args:
        manifest: the images.
        features: of each image, in the same order.
        settings: size of the shortlist, mirrored or not, how close the closer look is.
        seed: of the vocabulary.
    """
    records = manifest.records
    candidates = shortlist(
        features, settings.shortlist_size, seed,
        mirror=settings.mirrored, exhaustive_up_to=settings.exhaustive_up_to,
        workers=settings.workers,
    )  # fmt: skip
    best: dict[tuple[int, int], Scored] = {}
    for pair in _verify(features, candidates, settings):
        if pair[:2] not in best or pair[3] >= best[pair[:2]][3]:
            best[pair[:2]] = pair
    pairs = [
        _pair(records[i], records[j], score, evidence)
        for i, j, _, score, evidence in look_closer(manifest, list(best.values()), settings)
        if score >= KEPT_SCORE
    ]
    return sorted(pairs, key=lambda p: (-p.score, p.a, p.b))


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


def _verify(
    features: Sequence[Features], candidates: Candidates, settings: AuditSettings
) -> list[Scored]:
    """The candidates with some evidence; all others are forgotten at once."""

    def check(start: int) -> list[Scored]:
        return [
            scored
            for i, j, mirror in candidates[start : start + CHUNK].tolist()
            if (scored := _look(features, i, j, bool(mirror)))[3] >= DOUBT
        ]

    starts = range(0, len(candidates), CHUNK)
    done = on_each(check, starts, settings.workers, "verify pairs")
    return [pair for chunk in done for pair in chunk]


def _look(features: Sequence[Features], i: int, j: int, mirror: bool) -> Scored:
    evidence = compare(features[i], features[j], mirror=mirror)
    return i, j, mirror, likelihood(evidence), evidence


def _pair(a: Record, b: Record, score: float, evidence: Evidence) -> Pair:
    return Pair(
        a.id, b.id, score, _kind(evidence), (a.label, b.label),
        evidence.inliers, evidence.coherent, evidence.correlation,
    )  # fmt: skip


def _kind(evidence: Evidence) -> PairKind:
    if evidence.correlation < COPY_CORRELATION:
        return "view"
    if evidence.mirror:
        return "mirrored"
    return "copy" if evidence.same_frame else "reframed"
