"""The closer look decides the pairs in doubt, and leaves the others as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sonobalance.config import AuditSettings
from sonobalance.data.audit import closer
from sonobalance.data.audit.closer import (
    SURE_INLIERS,
    Scored,
    in_doubt,
    look_closer,
    worth_a_look,
)
from sonobalance.data.audit.evidence import NOTHING, closer_likelihood
from sonobalance.data.audit.geometry import Transform
from sonobalance.data.images import write_png
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.phantoms import phantom
from sonobalance.data.phantoms.copies import reframed
from sonobalance.randomness import numpy_generator

SAME = Transform(1, 1, 0, 0)
WEAK = replace(NOTHING, inliers=4, coherent=5, correlation=0.5, transform=SAME)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    """An image, its next frame, and another patient."""
    folder = tmp_path_factory.mktemp("closer")
    rng = numpy_generator(0, "closer")
    image, mask = phantom("benign", rng, 192)
    stranger, _ = phantom("malignant", rng, 192)
    for name, pixels in zip("abc", (image, reframed(image, mask, rng)[0], stranger), strict=True):
        write_png(folder / f"{name}.png", pixels)
    return Manifest(tuple(Record(name, f"{name}.png", "x") for name in "abc"), folder)


def test_pairs_in_doubt_are_decided_and_sure_ones_kept(manifest: Manifest) -> None:
    sure: Scored = (1, 2, False, 0.999, replace(WEAK, inliers=SURE_INLIERS))
    pairs: list[Scored] = [(0, 1, False, 0.4, WEAK), sure, (0, 2, False, 0.4, WEAK)]
    view, kept, stranger = look_closer(manifest, pairs, AuditSettings(workers=1))
    assert view[3] > 0.9
    assert view[4].inliers > 10
    assert stranger[3] < 0.3
    assert kept is sure


def test_nothing_in_doubt_opens_nothing(tmp_path: Path) -> None:
    absent = Manifest((Record("a", "a.png", "x"), Record("b", "b.png", "x")), tmp_path)
    pairs: list[Scored] = [(0, 1, False, 0.01, WEAK)]
    assert not in_doubt(0.01, WEAK)
    assert look_closer(absent, pairs, AuditSettings(workers=1)) == pairs


def test_the_score_is_the_logistic_function_of_its_evidence() -> None:
    assert closer_likelihood(NOTHING) == pytest.approx(1 / (1 + np.exp(4.5)))
    zoomed = replace(WEAK, inliers=8, coherent=10, transform=Transform(1.1, 1.1, 0, 0))
    z = -4.5 + 0.55 * 8 + 0.35 * 10 - 5 * np.log(1.1)
    assert closer_likelihood(zoomed) == pytest.approx(1 / (1 + np.exp(-z)))
    many = replace(WEAK, inliers=500, coherent=500)
    assert 0.999 < closer_likelihood(many) < 1


def test_the_most_doubtful_pairs_are_looked_at_again() -> None:
    scores = (0.9, 0.45, 0.1, 0.6, 0.02)
    doubts: list[Scored] = [(k, k + 1, False, score, WEAK) for k, score in enumerate(scores)]
    sure: Scored = (0, 9, False, 0.5, replace(WEAK, inliers=SURE_INLIERS))
    assert worth_a_look([sure, *doubts], 2, 0.5) == [(1, 2, False), (3, 4, False)]
    assert worth_a_look([sure, *doubts], 2, 0.95) == [(0, 1, False), (3, 4, False)]
    assert worth_a_look([sure, *doubts], 9, 0.5) == [(k, k + 1, False) for k in range(4)]


def test_pairs_beyond_the_bound_keep_their_first_score(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(closer, "ALWAYS", 1)
    settings = AuditSettings(workers=1, closer_pairs_per_image=0)
    pairs: list[Scored] = [(0, 1, False, 0.4, WEAK), (0, 2, False, 0.9, WEAK)]
    looked_at, kept = look_closer(manifest, pairs, settings)
    assert looked_at[3] > 0.9
    assert kept is pairs[1]
