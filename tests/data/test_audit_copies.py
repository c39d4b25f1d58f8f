"""Every kind of copy that people make is found, and no two patients are taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from sonobalance.config import AuditSettings, DataSettings
from sonobalance.data.audit import Audit, audit
from sonobalance.data.images import write_png
from sonobalance.data.manifest import Manifest
from sonobalance.data.phantoms import phantom
from sonobalance.data.phantoms.copies import COPIES
from sonobalance.data.sources import index_folder
from sonobalance.randomness import numpy_generator

EACH = 3
LEAST = dict.fromkeys(COPIES, 1.0) | {"reframed": 0.66}  # of 3 planted, so many must be found


@pytest.fixture(scope="module", params=[1000, 0], ids=["pair by pair", "shortlist"])
def audited(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Manifest, Audit]:
    folder = tmp_path_factory.mktemp("copies")
    for kind, copy in COPIES.items():
        for number in range(EACH):
            rng = numpy_generator(1, kind, number)
            label = ("benign", "malignant")[number % 2]
            image, mask = phantom(label, rng, 160)
            write_png(folder / label / f"{kind}-{number}-a.png", image)
            write_png(folder / label / f"{kind}-{number}-b.png", copy(image, mask, rng)[0])
    manifest, _ = index_folder(folder, DataSettings())
    settings = AuditSettings(workers=1, exhaustive_up_to=request.param, shortlist_size=5)
    return manifest, audit(manifest, settings)


@pytest.mark.parametrize("kind", COPIES)
def test_recall_of_each_kind_of_copy(audited: tuple[Manifest, Audit], kind: str) -> None:
    manifest, found = audited
    group = {Path(r.path).stem: found.groups[r.id] for r in manifest}
    hits = [group[f"{kind}-{n}-a"] == group[f"{kind}-{n}-b"] for n in range(EACH)]
    assert sum(hits) / EACH >= LEAST[kind]


def test_no_strangers_are_joined(audited: tuple[Manifest, Audit]) -> None:
    _, found = audited
    assert [(p.a, p.b) for p in found.pairs if Path(p.a).stem[:-2] != Path(p.b).stem[:-2]] == []


def test_the_kind_of_the_pair_is_told(audited: tuple[Manifest, Audit]) -> None:
    _, found = audited
    kinds = {(Path(p.a).stem[:-4], p.kind) for p in found.pairs}
    assert {("exact", "exact"), ("flip", "mirrored"), ("crop", "reframed")} <= kinds
