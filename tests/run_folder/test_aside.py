"""What `--redo` replaces is there until the new result is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from made_up_stages import begun, gan_stage, make, refusing

from sonobalance import runs
from sonobalance.config import Settings
from sonobalance.errors import CollapseError, InputError, LeakError, SettingsError, StaleError
from sonobalance.layers import parse
from sonobalance.record import RECORD
from sonobalance.runs import Run, Stage


@pytest.mark.parametrize("error", [InputError, SettingsError, LeakError])
def test_a_result_is_there_until_the_one_that_replaces_it(
    source: Path, out: Path, error: type[Exception]
) -> None:
    runs.create(out, source, Settings(), "cpu").perform(make([]))
    before = (out / RECORD).read_bytes()
    changed = parse({"split": {"folds": 7}})
    with pytest.raises(error):
        runs.create(out, source, changed, "cpu").perform(refusing(error), redo=True)
    assert (out / "result.txt").read_text() == "5"
    assert (out / RECORD).read_bytes() == before
    runs.create(out, source, changed, "cpu").perform(make([]), redo=True)
    assert (out / "result.txt").read_text() == "7"
    assert {path.name for path in out.iterdir()} == {RECORD, "result.txt"}


def test_a_killed_redo_goes_on_or_gives_the_former_result_back(source: Path, out: Path) -> None:
    left: list[bool] = []
    begun(out, source, {"alpha": 1.0}, gan_stage(left, fail=False))
    for _ in range(2):
        with pytest.raises(RuntimeError, match="killed"):
            begun(out, source, {"alpha": 2.0}, gan_stage(left, fail=True), redo=True)
    assert left == [False, False, True]
    log: list[str] = []
    stage = replace(gan_stage([], fail=False), work=make(log).work)
    former = runs.create(out, source, parse({"gan": {"alpha": 1.0}}), "cpu")
    with pytest.raises(StaleError, match=r"begun anew.*--redo to give that up"):
        former.perform(stage)
    assert (out / "gan" / "checkpoint").is_file()
    assert not former.perform(stage, redo=True)
    assert log == []
    assert (out / "gan" / "done").is_file()
    assert not (out / ".before-train-gan").exists()
    assert json.loads((out / RECORD).read_text())["stages"]["train-gan"]["status"] == "finished"


@pytest.mark.parametrize("cheap", [True, False])
def test_a_repeat_that_fails_leaves_the_former_result(
    source: Path, out: Path, *, cheap: bool
) -> None:
    """It is repeated because it costs nothing, or because a picture beside it is missing."""
    whole: list[bool] = []

    def beside(_: Run) -> bool:
        return not whole

    stage = replace(make([]), cheap=cheap, whole=beside)
    runs.create(out, source, Settings(), "cpu").perform(stage)
    before = (out / RECORD).read_bytes()
    whole.append(False)
    failing = replace(stage, work=refusing(InputError).work)
    with pytest.raises(InputError):
        runs.create(out, source, Settings(), "cpu").perform(failing)
    assert (out / "result.txt").read_text() == "5"
    assert (out / RECORD).read_bytes() == before


@pytest.mark.parametrize("renames", [0, 1])
@pytest.mark.parametrize("way", ["aside", "back"])
def test_a_kill_while_results_move_loses_none(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch, way: str, renames: int
) -> None:
    """Of two files none or one has moved when the process is killed."""

    def work(run: Run) -> None:
        for name in ("a.txt", "b.txt"):
            (run.folder / name).write_text(str(run.settings.split.folds))

    stage = Stage("copy", ("split.folds",), (), ("a.txt", "b.txt"), work)
    killed = replace(stage, work=make([], fail=True).work)
    former, other = Settings(), parse({"split": {"folds": 7}})
    runs.create(out, source, former, "cpu").perform(stage)
    if way == "back":
        with pytest.raises(RuntimeError, match="killed"):
            runs.create(out, source, other, "cpu").perform(killed, redo=True)
    moved, real = [], Path.rename

    def rename(path: Path, target: Path) -> Path:
        if len(moved) == renames:
            raise KeyboardInterrupt
        moved.append(path)
        return real(path, target)

    given = other if way == "aside" else former
    run = runs.create(out, source, given, "cpu")
    monkeypatch.setattr(Path, "rename", rename)
    with pytest.raises(KeyboardInterrupt):
        run.perform(stage, redo=way == "aside")
    monkeypatch.setattr(Path, "rename", real)
    assert not runs.create(out, source, former, "cpu").perform(killed)
    assert {path.name for path in out.iterdir()} == {RECORD, "a.txt", "b.txt"}
    assert (out / "a.txt").read_text() == (out / "b.txt").read_text() == "5"


def test_a_full_disk_before_the_work_keeps_the_former_result(
    source: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.create(out, source, Settings(), "cpu").perform(make([]))
    changed = runs.create(out, source, parse({"split": {"folds": 7}}), "cpu")

    def full(run: Run) -> NoReturn:
        raise InputError("The disk is full.")

    monkeypatch.setattr(Run, "save", full)
    with pytest.raises(InputError, match="disk is full"):
        changed.perform(make([]), redo=True)
    monkeypatch.undo()
    log: list[str] = []
    assert not runs.create(out, source, Settings(), "cpu").perform(make(log))
    assert (out / "result.txt").read_text() == "5"


def test_a_collapse_keeps_the_generator_of_before(source: Path, out: Path) -> None:
    left: list[bool] = []
    begun(out, source, {"alpha": 1.0}, gan_stage(left, fail=False))

    def collapse(run: Run) -> NoReturn:
        (run.folder / "gan").mkdir()
        (run.folder / "gan" / "gan.json").touch()
        raise CollapseError("The generator collapsed.")

    failing = replace(gan_stage([], fail=False), work=collapse)
    with pytest.raises(CollapseError):
        begun(out, source, {"alpha": 2.0}, failing, redo=True)
    assert not (out / "gan" / "done").exists()
    run = runs.create(out, source, parse({"gan": {"alpha": 1.0}}), "cpu")
    assert not run.perform(failing)
    assert (out / "gan" / "done").is_file()


def test_a_stage_refused_at_once_leaves_no_trace(source: Path, out: Path) -> None:
    run = runs.create(out, source, Settings(), "cpu")
    run.save()
    changed = runs.create(out, source, parse({"split": {"folds": 7}}), "cpu")
    with pytest.raises(SettingsError):
        changed.perform(refusing(SettingsError))
    record = json.loads((out / RECORD).read_text())
    assert record["stages"] == {}
    assert record["settings"]["split"]["folds"] == 5
