"""The whole audit on phantoms with planted copies, a conflict and marks."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sonobalance.config import AuditSettings, DataSettings
from sonobalance.data.audit import Audit, Pair, audit, write_tables
from sonobalance.data.audit.duplicates import accept
from sonobalance.data.audit.shortcuts import guess_class, mutual_information_bits
from sonobalance.data.images import write_png
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.phantoms import make_phantoms
from sonobalance.data.sources import index_folder
from sonobalance.files import read_json
from sonobalance.reporting.audit_page import render_audit, write_audit

SETTINGS = AuditSettings(workers=1)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Audit, dict[str, Any]]:
    folder = make_phantoms(tmp_path_factory.mktemp("audit") / "set", images=48, size_px=192)
    manifest, _ = index_folder(folder, DataSettings())
    return manifest, audit(manifest, SETTINGS), read_json(folder / "truth.json")


def test_every_planted_copy_is_found_and_no_strangers_are_joined(
    phantoms: tuple[Manifest, Audit, dict[str, Any]],
) -> None:
    manifest, found, truth = phantoms
    path = {r.id: r.path for r in manifest}
    planted = [*truth["duplicates"], *truth["label_conflicts"]]
    assert len(planted) >= 4
    expected = {frozenset((d["path"], d["source"])) for d in planted}
    pairs = {frozenset((path[p.a], path[p.b])) for p in found.pairs}
    assert expected <= pairs
    patient = {i["path"]: i["patient"] for i in truth["images"]}
    assert all(len({patient[key] for key in pair}) == 1 for pair in pairs)
    for d in planted:
        ids = [key for key, value in path.items() if value in (d["path"], d["source"])]
        assert found.groups[ids[0]] == found.groups[ids[1]]
    mirrored = {frozenset((path[p.a], path[p.b])) for p in found.pairs if p.kind == "mirrored"}
    assert mirrored == {
        frozenset((d["path"], d["source"])) for d in planted if d.get("kind") == "flip"
    }


def test_the_conflict_is_found(phantoms: tuple[Manifest, Audit, dict[str, Any]]) -> None:
    manifest, found, truth = phantoms
    path = {r.id: r.path for r in manifest}
    conflicts = [f for f in found.findings if f.kind == "label-conflict"]
    (conflict,), (planted,) = conflicts, truth["label_conflicts"]
    assert {planted["path"], planted["source"]} <= {path[key] for key in conflict.ids}
    assert all(f.score > 0.9 for f in conflicts)


def test_patients_stay_together(phantoms: tuple[Manifest, Audit, dict[str, Any]]) -> None:
    manifest, found, _ = phantoms
    of_patient: dict[str, set[str]] = {}
    for r in manifest:
        of_patient.setdefault(r.patient, set()).add(found.groups[r.id])
    assert all(len(groups) == 1 for patient, groups in of_patient.items() if patient)


def test_planted_marks_are_found(phantoms: tuple[Manifest, Audit, dict[str, Any]]) -> None:
    manifest, found, truth = phantoms
    key = {r.path: r.id for r in manifest}
    hit = [key[m["path"]] in found.marks for m in truth["marks"]]
    assert np.mean(hit) >= 0.8
    measured = {d["path"] for d in truth["duplicates"] if d["kind"] == "calipers"}
    marked = {key[path] for path in measured | {m["path"] for m in truth["marks"]}}
    assert len(set(found.marks) - marked) <= 0.05 * len(manifest)


def test_files_are_complete_valid_and_stable(
    phantoms: tuple[Manifest, Audit, dict[str, Any]], tmp_path: Path
) -> None:
    manifest, found, _ = phantoms
    write_audit(found, manifest, SETTINGS, tmp_path / "a")
    two = SETTINGS.model_copy(update={"workers": 2})
    write_audit(audit(manifest, two), manifest, two, tmp_path / "b")
    names = ("audit.json", "groups.csv", "marks.csv", "audit.html")
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    document = json.loads((tmp_path / "a" / "audit.json").read_text())
    for finding in document["findings"]:
        assert set(finding) == {"kind", "ids", "score", "text"}
        assert 0 <= finding["score"] <= 1
        assert finding["text"].endswith(".")
    with (tmp_path / "a" / "groups.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["id"] for row in rows] == [r.id for r in manifest]
    page = (tmp_path / "a" / "audit.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/") >= 2 * len(found.pairs)
    thresholds = [row["groups"] for row in document["sensitivity"]]
    assert thresholds == sorted(thresholds)


def tiny_set(folder: Path, labels: list[str]) -> Manifest:
    rng = np.random.default_rng(0)
    records = []
    for k, label in enumerate(labels):
        image = rng.integers(0, 255, (70, 80)).astype(np.uint8)
        write_png(folder / f"{k}.png", image)
        records.append(Record(str(k), f"{k}.png", label, width=80, height=70))
    return Manifest(tuple(records), folder)


@pytest.mark.parametrize("labels", [[], ["a"], ["a", "b"], ["a", "a", "b"], ["", "", ""]])
def test_a_handful_of_images_is_survived(tmp_path: Path, labels: list[str]) -> None:
    manifest = tiny_set(tmp_path, labels)
    found = audit(manifest, SETTINGS)
    assert list(found.groups) == [r.id for r in manifest]
    assert found.metadata_guess is None or found.metadata_guess.folds >= 2
    write_audit(found, manifest, SETTINGS, tmp_path / "out")
    assert (tmp_path / "out" / "audit.html").is_file()


def test_a_scanner_that_gives_the_class_away_is_found(tmp_path: Path) -> None:
    alike = tiny_set(tmp_path, ["a", "b"] * 12)
    told = replace(alike, records=tuple(replace(r, device=f"of {r.label}") for r in alike))
    guesses = [audit(manifest, SETTINGS).metadata_guess for manifest in (alike, told)]
    assert guesses[0] is not None
    assert guesses[1] is not None
    assert guesses[0].accuracy < 0.8
    assert guesses[1].accuracy == 1


def test_broken_constant_and_small_images_are_named(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, ["a", "a", "b", "b"])
    (tmp_path / "0.png").write_bytes(b"not an image")
    write_png(tmp_path / "1.png", np.full((90, 90), 30, np.uint8))
    write_png(tmp_path / "2.png", np.random.default_rng(1).integers(0, 255, (20, 90), np.uint8))
    skipped = [{"path": "(withheld)", "reason": "It is empty."}] * 2
    found = audit(manifest, SETTINGS, skipped)
    assert found.as_json()["skipped"] == skipped
    kinds = {(f.kind, f.ids) for f in found.findings}
    assert {("broken", ("0",)), ("broken", ()), ("constant", ("1",)), ("tiny", ("2",))} <= kinds


def test_what_is_not_looked_for_is_not_called_absent(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, ["a", "a", "b", "b"])
    none = AuditSettings(near_duplicates=False, marks=False, workers=1)
    write_audit(audit(manifest, none), manifest, none, tmp_path / "out")
    page = (tmp_path / "out" / "audit.html").read_text()
    assert page.count("not looked for") == 3
    assert "From the burnt-in marks" not in page


def test_a_weak_pair_of_one_patient_is_no_conflict(tmp_path: Path) -> None:
    """Near-duplicates are conflicts whoever they show; other images of a patient are none."""
    alike = tiny_set(tmp_path, ["a", "b", "a"])
    one = replace(alike, records=tuple(replace(r, patient="p") for r in alike))
    found = audit(one, SETTINGS)
    weak = replace(found, weaker=(Pair("0", "1", 0.06, "view", ("a", "b")),))
    page = render_audit(weak, one, SETTINGS)
    assert "under two labels" not in page
    same = tuple(replace(r, sha256="same" if r.id != "2" else "other") for r in one)
    copied = audit(replace(one, records=same), SETTINGS)
    assert copied.copies["0"] == copied.copies["1"] != copied.copies["2"]
    assert "under two labels" in render_audit(copied, one, SETTINGS)


def test_equal_bytes_are_exact_duplicates_even_without_the_search(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, ["a", "b", "a"])
    records = tuple(replace(r, sha256="same" if r.id != "1" else "other") for r in manifest.records)
    found = audit(Manifest(records, tmp_path), AuditSettings(near_duplicates=False, workers=1))
    assert [(p.a, p.b, p.kind, p.score) for p in found.pairs] == [("0", "2", "exact", 1.0)]
    assert found.groups["0"] == found.groups["2"] != found.groups["1"]


def test_one_weak_pair_does_not_chain_two_groups(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, ["a"] * 4)
    labels = ("a", "a")
    sure = [Pair("0", "1", 0.99, "copy", labels), Pair("2", "3", 0.99, "copy", labels)]
    weak = Pair("1", "2", 0.6, "view", labels)
    assert accept(manifest, [*sure, weak], 0.5, 0.9) == sure
    second = Pair("0", "3", 0.55, "view", labels)
    assert set(accept(manifest, [*sure, weak, second], 0.5, 0.9)) >= {*sure, second}
    strong = replace(weak, score=0.95)
    assert accept(manifest, [*sure, strong], 0.5, 0.9) == [*sure, strong]


def test_the_class_is_guessed_from_a_leaking_number_and_not_from_noise() -> None:
    rng = np.random.default_rng(2)
    labels = ["a"] * 60 + ["b"] * 40
    groups = [f"g{k // 2}" for k in range(100)]
    noise = rng.normal(size=(100, 3)).tolist()
    leaking = [[*row, float(label == "a")] for row, label in zip(noise, labels, strict=True)]
    told, blind = guess_class(leaking, labels, groups, 0), guess_class(noise, labels, groups, 0)
    assert told is not None
    assert blind is not None
    assert told.accuracy == 1
    assert blind.balanced_accuracy < 0.65
    assert told.chance == 0.6
    assert told.balanced_chance == 0.5
    assert guess_class(noise[:60], labels[:60], groups[:60], 0) is None


def test_mutual_information_of_a_perfect_mark_is_the_entropy() -> None:
    labels = ["a", "a", "b", "b"]
    assert mutual_information_bits(["x", "x", "y", "y"], labels) == pytest.approx(1)
    assert mutual_information_bits(["x", "y", "x", "y"], labels) == pytest.approx(0)


def test_tables_are_written_without_the_page(tmp_path: Path) -> None:
    manifest = tiny_set(tmp_path, ["a", "b"])
    write_tables(audit(manifest, SETTINGS), manifest, tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "audit.json", "groups.csv", "marks.csv",
    ]  # fmt: skip
