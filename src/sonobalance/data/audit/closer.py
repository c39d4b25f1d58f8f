"""A closer look at the pairs that the first look left in doubt.

The first look compares every pair and so has to be quick: few features of a small copy. Copies
share dozens of those, but two frames of one lesion share as few as chance does. For these few pairs
the images are opened again and described by more features of a larger copy; where the tissue is the
same more features agree, where the likeness was chance the agreement falls apart.

In a larger set every image meets more strangers that look alike by chance, so that more and more
pairs would be in doubt: `closer_pairs_per_image` bounds them, those nearest to the
threshold first: the first look is least sure of these.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from sonobalance.config import AuditSettings
from sonobalance.data.audit.evidence import Evidence, closer_likelihood, compare
from sonobalance.data.audit.features import Features, describe
from sonobalance.data.audit.marks import find_marks
from sonobalance.data.audit.workers import on_each
from sonobalance.data.images import read_color
from sonobalance.data.manifest import Manifest

DOUBT = 0.03  # score of the first look from which a pair is looked at again
ALWAYS = 2000  # pairs looked at again in any set
SURE_INLIERS = 15  # agreeing features of the first look that leave no doubt

Scored = tuple[int, int, bool, float, Evidence]  # two positions, mirrored or not, score, evidence


def in_doubt(score: float, evidence: Evidence) -> bool:
    """Whether the first look at a pair does not decide."""
    return score >= DOUBT and evidence.inliers < SURE_INLIERS


def look_closer(
    manifest: Manifest, pairs: Sequence[Scored], settings: AuditSettings
) -> list[Scored]:
    """The pairs in the same order; those in doubt with the score and evidence of a closer look."""
    room = max(ALWAYS, round(settings.closer_pairs_per_image * len(manifest)))
    doubted = worth_a_look(pairs, room, settings.duplicate_threshold)
    images = sorted({k for i, j, _ in doubted for k in (i, j)})
    described = on_each(
        lambda k: _describe(manifest, k, settings), images, settings.workers, "look closer"
    )
    features = dict(zip(images, described, strict=True))

    def check(pair: tuple[int, int, bool]) -> Evidence:
        i, j, mirror = pair
        return compare(features[i], features[j], mirror=mirror)

    checked = on_each(check, doubted, settings.workers, "verify closer")
    found = dict(zip(doubted, checked, strict=True))
    return [
        (*pair[:3], closer_likelihood(found[pair[:3]]), found[pair[:3]])
        if pair[:3] in found
        else pair
        for pair in pairs
    ]


def worth_a_look(
    pairs: Sequence[Scored], room: int, threshold: float
) -> list[tuple[int, int, bool]]:
    """At most `room` pairs in doubt, those whose score is nearest to the threshold, sorted."""
    doubted = sorted(
        (pair for pair in pairs if in_doubt(pair[3], pair[4])),
        key=lambda pair: (abs(pair[3] - threshold), pair[:3]),
    )
    return sorted(pair[:3] for pair in doubted[:room])


def _describe(manifest: Manifest, position: int, settings: AuditSettings) -> Features:
    record = manifest.records[position]
    image = read_color(manifest.file(record), record.frame)
    return describe(
        cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), find_marks(image).pixels,
        settings.closer_side_px, settings.closer_keypoints,
    )  # fmt: skip
