"""The benchmark: every arm once per fold and seed, paired, resumable, its files complete."""

from __future__ import annotations

import csv
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from tiny_benchmark import TINY

from sonobalance import api
from sonobalance.arms import CHEAP, TREATMENTS
from sonobalance.artefacts import groups_of, manifest_of, splits_of
from sonobalance.cli import app
from sonobalance.comparison import external, guarded
from sonobalance.comparison.benchmark import DEFAULT_ARMS
from sonobalance.comparison.external import class_map, translated
from sonobalance.comparison.pooling import blocks_by_arm, mean_of
from sonobalance.comparison.protocol import Protocol, folds_of
from sonobalance.comparison.units import units_of
from sonobalance.comparison.work import prepare
from sonobalance.config import DataSettings, Settings
from sonobalance.data.cleaning import cleaning
from sonobalance.data.dealing import grouped_folds
from sonobalance.data.phantoms import make_phantoms
from sonobalance.data.relatives import independent_groups
from sonobalance.data.split import make_splits
from sonobalance.errors import InputError, SettingsError
from sonobalance.evaluation.predictions import ArmPredictions
from sonobalance.files import remove, sha256_of
from sonobalance.layers import resolve
from sonobalance.runs import Run, open_run
from sonobalance.stages import STAGES

ARMS = ["probe", "none", "over-sampling", "copy-paste", "dual-iterative"]
SHOWN = [*ARMS, "guarded"]


def tiny(*arms: str) -> Settings:
    return Settings.model_validate(TINY | {"arms": list(arms)})


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", images=90, size_px=32)


@pytest.fixture(scope="module")
def finished(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("benchmark") / "out"
    api.benchmark(phantoms, out=out, folds=2, seeds=2, settings=tiny(*ARMS))
    return out


@pytest.fixture(scope="module")
def document(finished: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((finished / "benchmark.json").read_text())
    return document


def test_it_says_which_loops_advised_against_their_own_images(
    finished: Path, document: dict[str, Any]
) -> None:
    found = {
        summary.parts[-3]: json.loads(summary.read_text())["best_round"]
        for summary in finished.glob("units/gan-d2gan-*/synthesis/synthesis.json")
    }
    assert document["protocol"]["generators"] == len(found) == 4
    said = {title.split()[1] for title in document["protocol"]["advised_against"]}
    assert said == {"-".join(name.split("-")[2:4]) for name, best in found.items() if best == 0}
    page = (finished / "benchmark.html").read_text(encoding="utf-8")
    assert (f"In {len(said)} of 4 trainings no round" in page) == bool(said)


def test_guarded_takes_the_synthetic_images_only_where_the_loop_found_them_useful(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_run(finished / "base")
    folds = folds_of(base, Protocol(folds=2, seeds=2))
    units = list(units_of(base, folds, tuple(ARMS)))
    monkeypatch.setattr(guarded, "advised_against", lambda run: "fold0" in run.folder.name)
    blocks = guarded.with_guarded(blocks_by_arm(units), units)
    assert blocks.keys() == set(SHOWN)
    taken = {place: block.probabilities for place, block in blocks["guarded"].items()}
    assert taken.keys() == blocks["none"].keys()
    for (seed, fold), found in taken.items():
        arm = "over-sampling" if fold == 0 else "dual-iterative"
        assert np.array_equal(found, blocks[arm][seed, fold].probabilities)
    fallback = {place: block.probabilities for place, block in blocks["over-sampling"].items()}
    assert any(not np.array_equal(taken[place], fallback[place]) for place in taken)


def test_guarded_needs_both_arms_that_it_is_made_of() -> None:
    assert guarded.with_guarded({"dual-iterative": {}}, []) == {"dual-iterative": {}}


def test_copy_paste_trained_on_composed_images_of_the_rarer_class_with_lesions(
    finished: Path,
) -> None:
    pages = [*finished.glob("units/copy-paste-*/classifier/copy-paste/model.json")]
    made = [json.loads(page.read_text())["images"]["synthetic"] for page in pages]
    assert len(made) == 4
    assert all(counts["malignant"] > 0 for counts in made)
    assert all(counts["benign"] == counts["normal"] == 0 for counts in made)


def test_the_json_has_every_arm_metric_and_pair(document: dict[str, Any]) -> None:
    wanted = {"accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece", "brier"}
    wanted |= {f"recall_{name}" for name in ("benign", "malignant", "normal")}
    assert set(document["arms"]) == set(SHOWN)
    for scores in document["arms"].values():
        assert set(scores) == wanted
        assert all(set(x) == {"value", "low", "high"} for x in scores.values())
    pairs = {(row["arm"], row["against"]) for row in document["paired"]}
    assert pairs == {(a, b) for a in SHOWN for b in ARMS if a != b and b in CHEAP}
    for row in document["paired"]:
        difference = (
            document["arms"][row["arm"]][row["metric"]]["value"]
            - document["arms"][row["against"]][row["metric"]]["value"]
        )
        assert row["difference"] == pytest.approx(difference)
        assert row["low"] <= row["difference"] <= row["high"]


def test_every_image_is_tested_once_per_arm_and_seed(
    finished: Path, document: dict[str, Any]
) -> None:
    table = pd.read_csv(finished / "predictions.csv")
    assert not table.duplicated(["arm", "seed", "id"]).any()
    assert document["n"] == table["id"].nunique() == len(table) / len(ARMS) / 2
    assert set(table["part"]) == {"test"}


def test_values_are_those_of_scikit_learn(finished: Path, document: dict[str, Any]) -> None:
    table = pd.read_csv(finished / "predictions.csv")
    rows = table[table["arm"] == "none"]
    f1 = [f1_score(s["label"], s["predicted"], average="macro") for _, s in rows.groupby("seed")]
    columns = [f"p_{name}" for name in ("benign", "malignant", "normal")]
    auc = [
        roc_auc_score(fold["label"], fold[columns], multi_class="ovr", average="macro")
        for _, fold in rows.groupby(["seed", "fold"])
    ]
    scores = document["arms"]["none"]
    assert scores["macro_f1"]["value"] == pytest.approx(sum(f1) / len(f1))
    assert scores["macro_auc"]["value"] == pytest.approx(sum(auc) / len(auc), abs=1e-3)


def test_no_group_crosses_a_fold(finished: Path) -> None:
    base = open_run(finished / "base")
    for fold in folds_of(base, Protocol(folds=2, seeds=2)):
        places: dict[str, set[str]] = {}
        for r in fold.splits.manifest:
            places.setdefault(fold.splits.group[r.id], set()).add(fold.splits.part[r.id])
        assert all(len(place - {"excluded"}) <= 1 for place in places.values())


def test_the_same_again_trains_nothing_and_another_arm_trains_itself_alone(
    finished: Path, phantoms: Path, document: dict[str, Any]
) -> None:
    def trained() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in finished.rglob("weights.safetensors")}

    before = trained()
    api.benchmark(phantoms, out=finished, folds=2, seeds=2, settings=tiny(*ARMS))
    assert trained() == before
    assert json.loads((finished / "benchmark.json").read_text()) == document
    api.benchmark(phantoms, out=finished, folds=2, seeds=1, settings=tiny(*ARMS))  # fewer seeds
    assert trained() == before
    api.benchmark(phantoms, out=finished, folds=2, seeds=2, settings=tiny(*ARMS, "focal"))
    new = {path for path in trained() if path not in before}
    assert {path.parts[-2] for path in new} == {"focal"}
    assert {path: trained()[path] for path in before} == before
    api.benchmark(phantoms, out=finished, folds=2, seeds=2, settings=tiny(*ARMS))


def test_tables_are_ready_for_a_paper(finished: Path, document: dict[str, Any]) -> None:
    with (finished / "benchmark.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    value = document["arms"]["none"]["macro_f1"]["value"]
    assert {"arm", "metric", "value", "low", "high"} == set(rows[0])
    with (finished / "benchmark-paired.csv").open(newline="") as handle:
        assert len(list(csv.DictReader(handle))) == len(document["paired"])
    latex = (finished / "benchmark.tex").read_text()
    page = (finished / "benchmark.html").read_text()
    arms, pairs, _ = latex.split(r"\end{tabular}")
    assert arms.count(r"\\") == len(SHOWN) + 1
    assert pairs.count(r"\\") == 14 + 1  # each pair once: 6 of four references, 2 × 4 more
    assert f"{value:.3f}" in latex
    assert f"{value:.3f}" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_json_names_no_path_of_this_machine(finished: Path) -> None:
    assert str(finished.parent) not in (finished / "benchmark.json").read_text()


def test_arms_of_one_objective_share_one_gan_and_others_need_none(finished: Path) -> None:
    base = open_run(finished / "base")
    folds = folds_of(base, Protocol(folds=2, seeds=1))
    units = list(units_of(base, folds, ("dual-one-shot", "dual-iterative", "none")))
    gans = [unit for unit in units if unit.arm is None]
    assert len(gans) == 2
    assert {unit.gan for unit in units if unit.arm and TREATMENTS[unit.arm].objective} == {*gans}
    assert all(unit.gan is None for unit in units if unit.arm == "none")
    assert len({unit.folder for unit in units}) == len(units)


def test_a_unit_is_addressed_by_what_it_depends_on(finished: Path) -> None:
    base = open_run(finished / "base")
    folds = folds_of(base, Protocol(folds=2, seeds=1))

    def folders(change: dict[str, Any]) -> list[Path]:
        changed = Settings.model_validate(base.settings.model_dump() | change)
        other = type(base)(base.folder, changed, base.record)
        return [unit.folder for unit in units_of(other, folds, DEFAULT_ARMS)]

    same = folders({})
    assert folders({"evaluation": {"resamples": 500}}) == same
    other_gan = folders({"gan": TINY["gan"] | {"alpha": 0.7}})
    moved = {
        new.name.split("-seed")[0] for old, new in zip(same, other_gan, strict=True) if old != new
    }
    synthetic = {arm for arm in DEFAULT_ARMS if TREATMENTS[arm].objective}
    assert moved == synthetic | {"gan-d2gan", "gan-single"}
    assert not set(folders({"classifier": TINY["classifier"] | {"epochs": 2}})) & {
        folder for folder in same if not folder.name.startswith("gan")
    }


def test_a_change_of_the_synthesis_takes_the_generator_that_is_there(
    finished: Path, tmp_path: Path
) -> None:
    base = open_run(shutil.copytree(finished, tmp_path / "out", symlinks=True) / "base")
    (fold,) = folds_of(base, Protocol(folds=2, seeds=1))[:1]
    (old,) = (tmp_path / "out" / "units").glob(f"gan-d2gan-{fold.name}-*")

    def prepared(change: dict[str, Any]) -> Run:
        changed = Settings.model_validate(base.settings.model_dump() | change)
        other = Run(base.folder, changed, base.record)
        unit, _ = units_of(other, [fold], ("dual-iterative",))
        assert unit.folder != old
        prepare(unit, other)
        return open_run(unit.folder)

    synthesis = prepared({"synthesis": TINY["synthesis"] | {"min_gain": 0.02}})
    snapshot = "gan/snapshot.safetensors"
    assert sha256_of(synthesis.path(snapshot)) == sha256_of(old / snapshot)
    assert not synthesis.perform(STAGES["train-gan"])
    another = prepared({"gan": TINY["gan"] | {"alpha": 0.7}})
    assert not another.path("gan").exists()
    (old / snapshot).write_bytes(b"edited")
    remove(synthesis.folder)
    edited = prepared({"synthesis": TINY["synthesis"] | {"min_gain": 0.02}})
    assert not edited.path("gan").exists()


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_scarcity_cuts_train_groups_of_one_class_only(finished: Path, share: float) -> None:
    base = open_run(finished / "base")
    full = folds_of(base, Protocol(folds=2))
    cut = folds_of(base, Protocol(folds=2, scarce=share))
    for before, after in zip(full, cut, strict=True):
        counts, fewer = before.splits.counts(), after.splits.counts()
        assert (fewer["val"], fewer["test"]) == (counts["val"], counts["test"])
        assert fewer["train"]["malignant"] < counts["train"]["malignant"]
        assert fewer["train"]["benign"] == counts["train"]["benign"]


def test_bad_questions_are_refused(tmp_path: Path, phantoms: Path) -> None:
    for folds in (1, 51):
        with pytest.raises(InputError, match="2 to 50 folds"):
            api.benchmark(tmp_path, out=tmp_path / "out", folds=folds)
    with pytest.raises(InputError, match=r"scarce in \(0, 1\]"):
        api.benchmark(tmp_path, out=tmp_path / "out", scarce=0.0)
    weighted = Settings.model_validate({"classifier": {"balance": "class-weights"}})
    with pytest.raises(SettingsError, match=r"the arms of the benchmark vary these"):
        api.benchmark(phantoms, out=tmp_path / "out", settings=weighted)
    with pytest.raises(SettingsError, match="unit-cpus ≥ 1"):
        api.benchmark(phantoms, out=tmp_path / "out", unit_cpus=0)


def test_splits_of_the_base_stay_grouped(finished: Path) -> None:
    assert not splits_of(open_run(finished / "base")).leaky


def test_a_leaky_split_is_marked_and_uses_every_image(phantoms: Path, tmp_path: Path) -> None:
    settings = Settings.model_validate(TINY | {"arms": ["probe"], "split": {"leaky": True}})
    path = api.benchmark(phantoms, out=tmp_path / "out", folds=2, settings=settings)
    document = json.loads(path.read_text())
    assert document["protocol"]["leaky"]
    assert "too good" in document["protocol"]["warning"]
    assert document["n"] == 90
    page = (tmp_path / "out" / "benchmark.html").read_text()
    assert "too good" in page
    assert "--split.leaky" in document["command"]
    kin = document["relatives"]
    assert kin["related"]["n"] + kin["unrelated"]["n"] == 90
    assert kin["share"] == kin["related"]["n"] / 90
    assert f"{kin['related']['n']} images with relatives in TRAIN" in page


def test_a_subset_alone_is_tested(phantoms: Path, finished: Path, tmp_path: Path) -> None:
    table = pd.read_csv(finished / "predictions.csv")
    ids = sorted(table["id"].unique())[::-1][:70]
    listed = tmp_path / "curated.csv"
    listed.write_text("image\n" + "\n".join(f"{key}.png" for key in ids) + "\n")
    out = tmp_path / "out"
    path = api.benchmark(phantoms, out=out, folds=2, subset=listed, settings=tiny("probe"))
    assert set(pd.read_csv(out / "predictions.csv")["id"]) == set(ids)
    document = json.loads(path.read_text())
    assert document["protocol"]["subset"]["file"] == "curated.csv"
    listed.write_text("image\nnobody.png\n")
    with pytest.raises(InputError, match=r"1 are unknown, first 'nobody.png'"):
        api.benchmark(phantoms, out=tmp_path / "b", folds=2, subset=listed, settings=tiny("probe"))


def test_published_folds_are_used_as_they_are(
    finished: Path, phantoms: Path, tmp_path: Path
) -> None:
    base = open_run(finished / "base")
    manifest, groups = manifest_of(base), groups_of(base)
    whole = independent_groups(manifest, groups)
    folds = grouped_folds([r.label for r in manifest], [whole[r.id] for r in manifest], 3, seed=5)
    official = tmp_path / "folds.csv"
    official.write_text(
        "ID,kFold\n" + "".join(f"{r.id},{f + 1}\n" for r, f in zip(manifest, folds, strict=True))
    )
    settings = Settings.model_validate(
        TINY | {"arms": ["probe"], "split": {"official_csv": str(official)}}
    )
    out = tmp_path / "out"
    document = json.loads(api.benchmark(phantoms, out=out, seeds=2, settings=settings).read_text())
    table = pd.read_csv(out / "predictions.csv")
    given = {r.id: int(f) for r, f in zip(manifest, folds, strict=True)}
    assert {(row.id, row.fold) for row in table.itertuples()} <= set(given.items())
    assert sorted(table["seed"].unique()) == [0, 1]
    third = {key for key, fold in given.items() if fold == 2}
    listed = tmp_path / "curated.csv"  # the third published fold has no image in it
    listed.write_text("image\n" + "".join(f"{key}\n" for key in given if key not in third))
    subset = settings.split.model_copy(update={"subset_csv": listed})
    fewer = open_run(out / "base")
    fewer.settings = settings.model_copy(update={"split": subset})
    fewer.folder = tmp_path / "fewer"
    fewer.folder.mkdir()
    for name in ("manifest.csv", "groups.csv"):
        (fewer.folder / name).write_bytes((out / "base" / name).read_bytes())
    made = make_splits(manifest, groups, subset, 0)
    made.write(fewer.folder / "splits.csv")
    assert [fold.number for fold in folds_of(fewer, Protocol())] == [0, 1]
    assert document["protocol"]["name"] == "official folds"
    assert (document["protocol"]["folds"], document["protocol"]["seeds"]) == (3, 2)


def test_an_external_set_is_predicted_by_every_model_in_its_own_classes(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_clean: list[bool] = []
    reading = external._probabilities

    def watched(*given: Any) -> Any:
        read_clean.append(cleaning())
        return reading(*given)

    monkeypatch.setattr(external, "_probabilities", watched)
    other = make_phantoms(tmp_path / "other", images=40, size_px=32, seed=9)
    for path in [*other.glob("*.csv"), other / "truth.json"]:
        path.unlink()  # found by its folders instead
    (other / "normal").rename(other / "healthy")
    for path in sorted((phantoms / "benign").glob("*.png"))[:4]:
        (other / "benign" / f"copied-{path.name}").write_bytes(path.read_bytes())
    settings = Settings.model_validate(
        TINY | {"arms": ["probe", "none"], "clean_marks": True}
        | {"evaluation": {"resamples": 100, "external_classes": {
            "benign": "benign", "malignant": "malignant", "normal": "benign"}}}
    )  # fmt: skip
    out = tmp_path / "out"
    path = api.benchmark(phantoms, out=out, folds=2, external=other, settings=settings)
    document = json.loads(path.read_text())["external"]
    table = pd.read_csv(out / "external.csv")
    copies = table[table["id"].str.contains("copied")]
    assert document["classes"] == ["benign", "malignant"]
    assert document["left_out_as_shared"] > 0
    assert copies.empty
    assert read_clean == [True] * 4  # as the models were trained
    assert set(table["label"]) == {"benign", "malignant"}
    assert table.groupby(["arm", "fold"])["id"].nunique().nunique() == 1
    per_model = [
        (fold["label"] == fold["predicted"]).mean()
        for _, fold in table[table["arm"] == "none"].groupby("fold")
    ]
    assert document["arms"]["none"]["accuracy"]["value"] == pytest.approx(sum(per_model) / 2)
    together = table[table["arm"] == "none"].groupby("id")[["p_benign", "p_malignant"]].mean()
    labels = table.drop_duplicates("id").set_index("id")["label"].loc[together.index]
    right = together.idxmax(axis=1).str.removeprefix("p_") == labels
    assert document["ensemble"]["arms"]["none"]["accuracy"]["value"] == pytest.approx(right.mean())
    assert "models together" in (out / "benchmark.html").read_text()


def test_predictions_of_the_same_images_are_averaged_and_of_others_refused() -> None:
    one = ArmPredictions(
        ("a", "b"), np.array(["a", "b"]), np.array([0, 1]), np.array([[0.2, 0.8], [0.5, 0.5]])
    )
    two = replace(one, probabilities=np.array([[0.6, 0.4], [0.1, 0.9]]))
    np.testing.assert_allclose(mean_of([one, two]).probabilities, [[0.4, 0.6], [0.3, 0.7]])
    with pytest.raises(InputError, match="the same images"):
        mean_of([one, replace(two, ids=("a", "c"))])


def test_another_set_may_be_laid_out_and_named_otherwise(tmp_path: Path) -> None:
    ours = DataSettings(layout="csv", patient_pattern=r"([^/]+)_\d+\.png$")
    shown, kept = tmp_path / "shown", tmp_path / "elsewhere"
    for folder in (shown, kept):
        folder.mkdir()
    (shown / "benign").mkdir()
    (shown / "benign" / "a.png").touch()
    (shown / "benign" / "P017_2.txt").touch()  # no image
    read = external._readable(shown, ours)
    assert (read.layout, read.patient_pattern) == ("auto", "")
    (kept / "P017_2.png").touch()
    (shown / "malignant").symlink_to(kept)
    read = external._readable(shown, ours)
    assert (read.layout, read.patient_pattern) == ("auto", ours.patient_pattern)
    (shown / "meta.csv").write_text("path,label\nbenign/a.png,benign\n")
    folders = ours.model_copy(update={"layout": "folders"})
    assert external._readable(shown, folders).layout == "folders"


def test_what_a_gan_started_from_counts_as_seen(tmp_path: Path) -> None:
    start = tmp_path / "other" / "gan"
    start.mkdir(parents=True)
    (start / "snapshot.safetensors").touch()
    settings = Settings.model_validate({"gan": {"init": str(tmp_path / "other")}})
    assert external._ancestors(settings) == [start]
    assert external._ancestors(Settings()) == []


def test_classes_are_translated_by_adding_up_or_ruling_out() -> None:
    p = np.array([[0.2, 0.3, 0.5], [0.0, 0.0, 1.0]])
    classes = ("benign", "malignant", "normal")
    merged, names = translated(p, classes, {"benign": "b", "malignant": "m", "normal": "b"})
    assert names == ("b", "m")
    np.testing.assert_allclose(merged, [[0.7, 0.3], [1.0, 0.0]], atol=1e-9)
    ruled_out, _ = translated(p, classes, {"benign": "benign", "malignant": "malignant"})
    np.testing.assert_allclose(ruled_out, [[0.4, 0.6], [0.5, 0.5]])
    with pytest.raises(InputError, match="two or more classes in common"):
        class_map(classes, ("cat", "dog"), {})
    with pytest.raises(InputError, match="'normal' → 'dog'"):
        class_map(classes, ("benign", "malignant"), {"normal": "dog"})


def test_the_command_in_the_json_asks_for_the_same_thing(document: dict[str, Any]) -> None:
    words = shlex.split(document["command"])
    assert words[:2] == ["sonobalance", "benchmark"]
    _, bound, _ = app.parse_args(words[1:], print_error=False, exit_on_error=False)
    assert (bound.arguments["folds"], bound.arguments["seeds"]) == (2, 2)
    given = resolve(given=bound.arguments["settings"])
    assert list(given.arms) == ARMS
    assert given.model_copy(update={"arms": ()}) == tiny().model_copy(update={"arms": ()})
