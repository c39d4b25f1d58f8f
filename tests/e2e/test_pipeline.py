"""The whole road on phantoms: every stage real, killed in every stage, and no leak on the way."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_benchmark import FEW_EXPLAINED

from sonobalance import api
from sonobalance.artefacts import splits_of
from sonobalance.cli import main
from sonobalance.comparison.processes import worker_context
from sonobalance.config import AuditSettings, Settings
from sonobalance.data import raster
from sonobalance.data.guard import reading_only
from sonobalance.data.images import read_gray
from sonobalance.data.phantoms import make_phantoms
from sonobalance.errors import LeakError, StaleError
from sonobalance.progress import console
from sonobalance.runs import RECORD, open_run
from sonobalance.stages import STAGES

TINY = {
    "gan": {
        "image_size_px": 32, "base_channels": 8, "latent_dim": 32, "batch_size": 8,
        "autoencoder_kimg": 0.24, "total_kimg": 0.24, "snapshot_kimg": 0.08,
        "collapse_fraction": 0.0, "repetition_limit": 1.0,
    },
    "synthesis": {"rounds": 2, "gan_kimg_per_round": 0.08, "pool_factor": 2},
    "classifier": {
        "backbone": "resnet10t", "image_size_px": 32, "epochs": 2, "batch_size": 16,
    },
    "evaluation": {"resamples": 200},
    "explanation": FEW_EXPLAINED,
}  # fmt: skip
FILES = ("manifest.csv", "groups.csv", "splits.csv", "predictions.csv", "evaluation.json")


def tiny() -> Settings:
    return Settings.model_validate(TINY)


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", images=72, size_px=64)


@pytest.fixture(scope="module")
def watched(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run folder, and what was printed while it was made."""
    out = tmp_path_factory.mktemp("runs") / "undisturbed"
    with console.capture() as printed:
        api.run(phantoms, out=out, preset="demo", settings=tiny())
    return out, printed.get()


@pytest.fixture(scope="module")
def finished(watched: tuple[Path, str]) -> Path:
    return watched[0]


def test_what_it_will_take_is_told_before_it_starts(watched: tuple[Path, str]) -> None:
    before = watched[1].split("2/10 audit")[0]
    assert re.search(r"About \d+ minutes? and \d\.\d GiB of memory", before)


def test_every_stage_leaves_its_files(finished: Path) -> None:
    record = json.loads((finished / RECORD).read_text())
    assert list(record["stages"]) == list(STAGES)
    for stage in STAGES.values():
        assert record["stages"][stage.name]["status"] == "finished"
        assert all((finished / name).is_file() for name in stage.writes)


def test_the_report_is_one_page_with_the_notice_and_the_figures(finished: Path) -> None:
    page = (finished / "report.html").read_text(encoding="utf-8")
    evaluation = json.loads((finished / "evaluation.json").read_text())
    value = evaluation["arms"]["none"]["balanced_accuracy"]["value"]
    assert "not a medical device" in page.lower()
    assert f"{value:.3f}".lstrip("0") in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_predictions_are_of_real_unseen_images_only(finished: Path) -> None:
    splits = splits_of(open_run(finished))
    unseen = {*splits.of("val").ids, *splits.of("test").ids}
    with (finished / "predictions.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert {row["id"] for row in rows} == unseen
    assert {row["arm"] for row in rows} == {"none", "over-sampling", "dual-iterative"}


def test_planted_duplicates_do_not_cross_parts(finished: Path, phantoms: Path) -> None:
    truth = json.loads((phantoms / "truth.json").read_text())
    splits = splits_of(open_run(finished))
    part = {record.path: splits.part[record.id] for record in splits.manifest}
    for pair in truth["duplicates"]:
        parts = {part[pair["path"]], part[pair["source"]]} - {"excluded"}
        assert len(parts) <= 1, pair


def test_a_finished_run_is_left_alone_but_for_its_page(finished: Path, phantoms: Path) -> None:
    before = json.loads((finished / RECORD).read_text())["stages"]
    api.run(phantoms, out=finished, preset="demo", settings=tiny())
    after = json.loads((finished / RECORD).read_text())["stages"]
    assert list(before) == list(after)
    del before["report"], after["report"]
    assert after == before


def test_a_changed_setting_is_refused_by_name(finished: Path, phantoms: Path) -> None:
    changed = Settings.model_validate(TINY | {"classifier": TINY["classifier"] | {"epochs": 3}})
    with pytest.raises(StaleError, match=r"classifier\.epochs changed from 2 to 3"):
        api.run(phantoms, out=finished, preset="demo", settings=changed)


def test_the_guard_refuses_test_images_while_training_ones_are_read(finished: Path) -> None:
    splits = splits_of(open_run(finished))
    manifest, train = splits.manifest, splits.of("train")
    with reading_only(train):
        read_gray(train.file(train.records[0]))
        for record in splits.of("test"):
            with pytest.raises(LeakError):
                read_gray(manifest.file(record))


def openings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The images that are opened from now on."""
    opened: list[Path] = []
    decode = raster.decode

    def spy(path: Path, frame: int, max_megapixels: float) -> tuple[raster.Pixels, bool]:
        opened.append(path.absolute())
        return decode(path, frame, max_megapixels)

    monkeypatch.setattr(raster, "decode", spy)
    return opened


def test_gan_and_synthesis_open_training_files_only(
    finished: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spy on every opening, independent of the guard (promise P1)."""
    opened = openings(monkeypatch)
    out = tmp_path / "run"
    api.audit(phantoms, out=out, audit=AuditSettings(exhaustive_up_to=0, shortlist_size=2))
    api.split(out)
    opened.clear()
    api.train_gan(out, gan=tiny().gan)
    api.synthesize(out, synthesis=tiny().synthesis)
    splits = splits_of(open_run(out))
    train = {splits.manifest.file(record).absolute() for record in splits.of("train")}
    real = {path for path in opened if phantoms.absolute() in path.parents}
    assert real
    assert real <= train


def test_arms_without_generated_images_train_no_generator_and_copy_paste_opens_no_test_image(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    settings = tiny().model_copy(update={"arms": ("over-sampling", "copy-paste")})
    with console.capture() as printed:
        api.run(phantoms, out=out, preset="demo", settings=settings)
    said = " ".join(printed.get().split())
    assert said.count("skipped: no arm trains with generated images") == 2
    assert "No lesion could be set" not in said
    assert not (out / "gan").exists()
    assert json.loads((out / "evaluation.json").read_text())["arms"].keys() == set(settings.arms)
    assert "Nothing has been synthesised" in (out / "report.html").read_text(encoding="utf-8")

    opened = openings(monkeypatch)
    shutil.rmtree(out / "classifier")
    api.train(out)
    splits = splits_of(open_run(out))
    of_test = {
        path.absolute()
        for record in splits.of("test")
        for path in (splits.manifest.file(record), *splits.manifest.mask_files(record))
    }
    assert any("_mask" in path.name for path in opened)
    assert not of_test & set(opened)


@pytest.mark.slow
def test_killed_in_every_stage_it_ends_with_the_same_numbers(
    finished: Path, phantoms: Path, tmp_path: Path
) -> None:
    out = tmp_path / "disturbed"
    toml = tmp_path / "tiny.toml"
    toml.write_text(as_toml(TINY))
    words = ["run", str(phantoms), "--out", str(out), "--preset", "demo", "--config", str(toml)]
    for name in STAGES:
        kill_in(name, words, out)
    command = [sys.executable, "-m", "sonobalance", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in FILES:
        assert (out / name).read_bytes() == (finished / name).read_bytes(), name


def kill_in(stage: str, words: list[str], out: Path) -> None:
    """Start the command and SIGKILL it as soon as `stage` has begun (or has just ended)."""
    process = worker_context().Process(target=main, args=(words,))  # type: ignore[attr-defined]
    process.start()
    while process.is_alive() and not begun(out, stage):
        time.sleep(0.02)
    time.sleep(0.3)
    assert process.is_alive() or stage == list(STAGES)[-1], f"{stage} could not be cut off"
    process.kill()
    process.join()


def begun(out: Path, stage: str) -> bool:
    record = out / RECORD
    return record.is_file() and stage in json.loads(record.read_text())["stages"]


def as_toml(tree: dict[str, dict[str, object]]) -> str:
    lines = []
    for section, values in tree.items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"
