"""The loop with generators whose vices are known."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from growth_stubs import (
    Copying,
    Noise,
    Repeating,
    StubGenerator,
    Swapped,
    toy_features,
    toy_set,
)
from PIL import Image

from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.data.manifest import read_manifest
from sonobalance.errors import InputError, StaleError
from sonobalance.files import read_json, write_json
from sonobalance.synthesis.cautions import too_coarse
from sonobalance.synthesis.grow import grow
from sonobalance.synthesis.ledger import Candidate, RoundRecord
from sonobalance.synthesis.loop import _additions
from sonobalance.synthesis.summary import best_round, training_images
from sonobalance.synthesis.yardstick import Yardstick

COUNTS = (48, 24, 16)
QUICK = SynthesisSettings(inner_repeats=2, inner_folds=4, pool_factor=2.0, patience_rounds=5)


def run(folder: Path, generator=None, settings=QUICK, counts=COUNTS):
    train, groups = toy_set(counts)
    generator = Copying(train) if generator == "copies" else generator or StubGenerator()
    return grow(train, groups, generator, toy_features, settings, seed=3, folder=folder)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("grown")
    return run(folder)


def test_rounds_are_judged_on_the_images_that_the_classifier_sees(grown):
    train, groups = toy_set(COUNTS)
    seen = LabelledImages(train.pixels.flip(2), train.targets, train.ids, train.classes)
    how = {"seed": 3, "device": "cpu"}
    own = Yardstick.of(train, groups, toy_features, QUICK, **how)
    other = Yardstick.of(train, groups, toy_features, QUICK, seen=seen, share=0.25, **how)
    assert (own.judge.features == own.inner.features).all()
    assert (other.inner.features == own.inner.features).all()
    assert (other.judge.features == own.gates.features(seen)).all()
    assert (other.judge.share, own.judge.share) == (0.25, 1)
    with pytest.raises(StaleError):
        grow(
            train, groups, StubGenerator(), toy_features, QUICK,
            seen=seen, seed=3, folder=grown.folder,
        )  # fmt: skip


def test_accepted_images_are_enlarged_for_the_judge_alone(grown, tmp_path):
    train, groups = toy_set(COUNTS)
    enlarged = []

    def enlarge(images):
        enlarged.extend(images.ids)
        return images

    other = grow(
        train, groups, StubGenerator(), toy_features, QUICK,
        enlarge=enlarge, seed=3, folder=tmp_path,
    )  # fmt: skip
    assert set(enlarged) == set(other.manifest.ids) == set(grown.manifest.ids)
    assert other.document["fidelity"] == grown.document["fidelity"]


@pytest.mark.parametrize(
    ("generated", "seen", "learnt", "coarse"),
    [
        (64, 160, False, True),
        (64, 160, True, False),
        (64, 224, True, True),
        (128, 160, False, False),
    ],
)
def test_images_too_coarse_for_the_classifier_are_warned_of(generated, seen, learnt, coarse):
    found = too_coarse(generated, seen, learnt=learnt)
    assert bool(found) == coarse
    assert not coarse or f"about {seen / 1.25:.0f}" in found[0]


def test_a_good_generator_balances_the_classes(grown):
    assert grown.reason.startswith("balanced")
    assert grown.document["after"] == {"benign": 48, "malignant": 48, "normal": 48}
    assert grown.document["before"] == {"benign": 48, "malignant": 24, "normal": 16}
    assert grown.manifest.counts == {"malignant": 24, "normal": 32}


def test_every_candidate_has_a_row_with_every_score(grown):
    rows = rows_of(grown.folder / "selection.csv")
    assert len(rows) == grown.document["candidates"]
    kept = [row for row in rows if row["kept"] == "true"]
    assert [row["id"] for row in kept] == [r.id for r in grown.manifest]
    scores = ("realism", "class_probability", "typicality", "novelty", "diversity")
    for row in rows:
        assert all(0 <= float(row[name]) <= 1 for name in scores)
        assert row["nearest_id"]
        assert row["reason"].startswith("accepted") == (row["kept"] == "true")


def test_rounds_add_up(grown):
    rows = rows_of(grown.folder / "rounds.csv")
    assert [row["round"] for row in rows] == [str(i) for i in range(len(rows))]
    for row in rows[1:]:
        for label in ("malignant", "normal"):
            rejected = sum(int(v) for k, v in row.items()
                           if k.startswith("rejected_") and k.endswith(label))  # fmt: skip
            assert rejected + int(row[f"added_{label}"]) == int(row[f"made_{label}"])
            assert int(row[f"added_{label}"]) <= int(row[f"asked_{label}"])
    assert int(rows[1]["added_malignant"]) == 12  # half the deficit of 24
    assert int(rows[-1]["total"]) == 3 * 48


def test_images_carry_their_provenance(grown):
    record = grown.manifest.records[0]
    row = next(r for r in rows_of(grown.folder / "selection.csv") if r["id"] == record.id)
    with Image.open(grown.manifest.file(record)) as image:
        text = image.text
    assert text["synthetic"] == "true"
    assert text["generator"] == "stub"
    for key in ("seed", "index", "class", "round", "nearest_id", "nearest_distance", "realism"):
        assert text[key] == row[key]
    seed, index = int(row["seed"]), int(row["index"])
    again = StubGenerator().image(
        ["benign", "malignant", "normal"].index(row["class"]), seed, index
    )
    with Image.open(grown.manifest.file(record)) as image:
        assert np.array_equal(np.asarray(image), again)


def test_harm_guard_hands_out_images_up_to_the_best_round(grown, tmp_path):
    rounds = {int(r.id[1]) for r in grown.manifest}
    assert {1, 2} <= rounds
    shutil.copy(grown.folder / "manifest.csv", tmp_path)
    for best in range(3):
        write_json(tmp_path / "synthesis.json", {"harm_guard": True, "best_round": best})
        assert {int(r.id[1]) for r in training_images(tmp_path)} == set(range(1, best + 1))
    write_json(tmp_path / "synthesis.json", {"harm_guard": False, "best_round": 0})
    assert {int(r.id[1]) for r in training_images(tmp_path)} == rounds
    assert training_images(grown.folder, every_round=True) == grown.manifest
    assert all(r.origin == "synthetic" for r in grown.manifest)


def test_copies_are_refused(tmp_path):
    growth = run(tmp_path, "copies")
    rows = rows_of(tmp_path / "selection.csv")
    assert np.mean([float(row["novelty"]) < 0.02 for row in rows]) == 1
    assert len(growth.manifest) == 0
    assert "collapse" in growth.reason or "acceptance" in growth.reason


POOL = 24  # candidates; no other batch of images has as many


class Dull(StubGenerator):
    """Discriminators that take every candidate for less real than any real image."""

    def log_ratios(self, pixels, targets):
        far = 50 * (len(pixels) == POOL)
        return tuple(ratio - far for ratio in super().log_ratios(pixels, targets))


def test_where_none_is_in_the_real_range_the_most_real_of_the_pool_are_judged_further(tmp_path):
    strict = QUICK.model_copy(
        update={"rounds": 1, "min_pool": POOL, "pool_factor": 1.0, "realism_share": 0.0}
    )
    assert not run(tmp_path / "strict", Dull(), strict).manifest.records
    ranked = strict.model_copy(update={"realism_share": 0.25})
    growth = run(tmp_path / "ranked", Dull(), ranked)
    rows = rows_of(tmp_path / "ranked" / "selection.csv")
    passed = [row for row in rows if not row["reason"].startswith("realism")]
    assert len(rows) == 2 * POOL
    assert len(passed) == 2 * POOL // 4
    kept = [row for row in rows if row["kept"] == "true"]
    assert kept
    assert all("most real of its pool" in row["reason"] for row in kept)
    assert growth.document["accepted_by_rank"] == len(kept)


def test_swapped_labels_are_refused(tmp_path):
    run(tmp_path, Swapped())
    rows = rows_of(tmp_path / "selection.csv")
    failed = [row["reason"].split(":")[0] for row in rows]
    judged = [reason for reason in failed if reason != "realism"]
    assert sum(reason == "class" for reason in judged) >= 0.8 * len(judged)


def test_noise_is_refused(tmp_path):
    growth = run(tmp_path, Noise())
    assert len(growth.manifest) == 0
    assert growth.reason.startswith("acceptance below floor")
    assert growth.best_round == 0
    assert "did not help" in growth.document["sentence"]
    assert read_manifest(tmp_path / "manifest.csv", tmp_path).records == ()


@pytest.mark.parametrize(("scores", "best"), [
    ((0.7, 0.7, 0.71), 0), ((0.7, 0.72, 0.75), 2), ((0.7, 0.75, 0.75), 1), ((0.7, 0.6, 0.5), 0),
])  # fmt: skip
def test_a_round_is_best_when_it_gains_enough(scores, best):
    records = [RoundRecord(i, (), {"macro_f1": score}, [], {}) for i, score in enumerate(scores)]
    assert best_round(records, 0.02) == best


@pytest.mark.parametrize("different", [1, 10])
def test_few_images_are_a_collapse(tmp_path, different):
    growth = run(tmp_path, Repeating(different))
    assert growth.reason.startswith("collapse")
    assert all(n <= different for n in growth.manifest.counts.values())


class KilledError(Exception):
    pass


class Fragile(StubGenerator):
    """Dies at the n-th request, as a killed process would."""

    def __init__(self, requests: int) -> None:
        super().__init__()
        self.left = requests

    def log_ratios(self, pixels, targets):
        self.left -= 1
        if self.left < 0:
            raise KilledError
        return super().log_ratios(pixels, targets)


@pytest.mark.parametrize("requests", [2, 5])
def test_killed_and_called_again_equals_undisturbed(tmp_path, grown, requests):
    with pytest.raises(KilledError):
        run(tmp_path, Fragile(requests))
    run(tmp_path)
    files = sorted(p.relative_to(grown.folder) for p in grown.folder.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    for name in files:
        if name.parts[0] != "rounds" and name.name != "rounds.csv":
            assert (tmp_path / name).read_bytes() == (grown.folder / name).read_bytes(), name
    for one, other in zip(
        rows_of(tmp_path / "rounds.csv"), rows_of(grown.folder / "rounds.csv"), strict=True
    ):
        assert one | {"seconds": ""} == other | {"seconds": ""}


def test_rounds_of_other_settings_are_not_mixed_in(grown):
    with pytest.raises(StaleError, match="another --out"):
        run(grown.folder, settings=QUICK.model_copy(update={"cap_share": 0.4}))


def test_a_class_of_one_patient_is_refused(tmp_path):
    with pytest.raises(InputError, match="two unrelated images"):
        run(tmp_path, counts=(12, 2))


def test_summary_names_thresholds_and_hashes(grown):
    document = read_json(grown.folder / "synthesis.json")
    assert document == grown.document
    assert document["gain"]["low"] <= document["gain"]["value"] <= document["gain"]["high"]
    assert {"class_benign", "typicality", "novelty", "realism_round_1"} <= set(
        document["thresholds"]
    )
    assert all(share >= 0.97 for share in document["copies_caught"].values())


def test_accepted_images_reach_the_generator_only_when_asked(tmp_path, grown):
    quiet, loud = StubGenerator(), StubGenerator()
    run(tmp_path / "quiet", quiet)
    fed = run(tmp_path / "loud", loud, QUICK.model_copy(update={"feed_back": True}))
    assert set(quiet.fed) == {None}
    assert loud.fed[1:3] == [0, 12 + 16]  # before round 1 nothing, before round 2 what it added
    assert "reinforce" in fed.document["warnings"][0]
    assert grown.document["warnings"] == []


def test_relatives_of_synthetic_parents_are_inherited():
    """The parent of an image of round 2 may be one of round 1: its relatives count then."""
    ancestry = {"a": frozenset([0]), "b": frozenset([1]), "c": frozenset([2])}
    images = toy_set((1,))[0]
    gates = SimpleNamespace(features=lambda images: images.pixels.numpy().mean((1, 2, 3))[:, None])
    yardstick = SimpleNamespace(gates=gates)
    scores = [0.5] * 7

    def made(name, nearest, parents):
        return Candidate(name, 1, "benign", 0, 0, *scores, nearest, 0.5, parents, True, "")

    first = made("r1-x", "b", "a:1.000")
    second = made("r2-x", "c", "r1-x:0.600|unknown:0.400")
    assert _additions(yardstick, images, [first], ancestry).relatives == (frozenset([0, 1]),)
    found = _additions(yardstick, images, [second], ancestry)
    assert found.relatives == (frozenset([0, 1, 2]),)
    assert (found.seen == found.features).all()
    white = replace(images, pixels=torch.full_like(images.pixels, 255))
    judged = _additions(yardstick, images, [first], ancestry, lambda images: white)
    assert (judged.features == found.features).all()
    assert judged.seen == 255
