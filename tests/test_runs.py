"""A stage is done once, goes on when interrupted, and is refused when it is no longer true."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest

from sonobalance import runs
from sonobalance.config import Settings
from sonobalance.errors import InputError, LeakError, SettingsError, StaleError
from sonobalance.layers import parse
from sonobalance.locking import RECORD, locked
from sonobalance.runs import SOURCE, Run, Stage


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.png").write_text("one")
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def make(run_log: list[str], fail: bool = False) -> Stage:
    def work(run: Run) -> None:
        run_log.append("worked")
        if fail:
            raise RuntimeError("killed")
        (run.folder / "result.txt").write_text(str(run.settings.split.folds))

    return Stage("copy", ("split.folds",), (SOURCE,), ("result.txt",), work)


def test_a_finished_stage_is_not_repeated(source: Path, out: Path) -> None:
    log: list[str] = []
    assert runs.create(out, source, Settings(), "cpu").perform(make(log))
    assert not runs.create(out, source, Settings(), "cpu").perform(make(log))
    assert log == ["worked"]


def test_a_finished_stage_is_repeated_where_it_is_wanted_anew(source: Path, out: Path) -> None:
    log: list[str] = []
    for _ in range(2):
        assert runs.create(out, source, Settings(), "cpu").perform(make(log), anew=True)
    assert log == ["worked", "worked"]


def test_a_damaged_result_is_made_again(source: Path, out: Path) -> None:
    log: list[str] = []
    runs.create(out, source, Settings(), "cpu").perform(make(log))
    (out / "result.txt").write_text("tampered")
    assert runs.create(out, source, Settings(), "cpu").perform(make(log))
    assert (out / "result.txt").read_text() == "5"


def test_a_changed_setting_is_named_and_refused(source: Path, out: Path) -> None:
    runs.create(out, source, Settings(), "cpu").perform(make([]))
    changed = runs.create(out, source, parse({"split": {"folds": 7}}), "cpu")
    with pytest.raises(StaleError, match=r"split\.folds changed from 5 to 7"):
        changed.perform(make([]))
    assert (out / "result.txt").read_text() == "5"
    assert changed.perform(make([]), redo=True)
    assert (out / "result.txt").read_text() == "7"


def refusing(error: type[Exception]) -> Stage:
    """A stage that ends in an error before it leaves anything."""

    def work(run: Run) -> None:
        raise error("no such backbone")

    return replace(make([]), work=work)


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
    assert not runs.create(out, source, parse({"gan": {"alpha": 1.0}}), "cpu").perform(stage)
    assert log == []
    assert (out / "gan" / "done").is_file()
    assert not (out / ".before-train-gan").exists()
    assert json.loads((out / RECORD).read_text())["stages"]["train-gan"]["status"] == "finished"


def test_a_stage_refused_at_once_leaves_no_trace(source: Path, out: Path) -> None:
    run = runs.create(out, source, Settings(), "cpu")
    run.save()
    changed = runs.create(out, source, parse({"split": {"folds": 7}}), "cpu")
    with pytest.raises(SettingsError):
        changed.perform(refusing(SettingsError))
    record = json.loads((out / RECORD).read_text())
    assert record["stages"] == {}
    assert record["settings"]["split"]["folds"] == 5


def after(name: str, reads: str, writes: str) -> Stage:
    """A stage that writes what it reads."""

    def work(run: Run) -> None:
        (run.folder / writes).write_text((run.folder / reads.removesuffix("?")).read_text())

    return Stage(name, (), (reads,), (writes,), work)


def test_what_was_made_of_former_results_is_used_by_no_later_stage(source: Path, out: Path) -> None:
    second, third = after("train", "result.txt", "b.txt"), after("predict", "b.txt", "c.txt")
    run = runs.create(out, source, Settings(), "cpu")
    for stage in (make([]), second, third):
        run.perform(stage)
    changed = runs.create(out, source, parse({"split": {"folds": 7}}), "cpu")
    changed.perform(make([]), redo=True)
    for redo in (False, True):
        with pytest.raises(StaleError, match=r"result\.txt changed since train was done"):
            changed.perform(third, redo=redo)
    changed.perform(second, redo=True)
    changed.perform(third, redo=True)
    assert (out / "c.txt").read_text() == "7"


def test_a_stage_that_was_cut_off_is_finished_before_the_next(source: Path, out: Path) -> None:
    first, second = make([]), after("train", "result.txt", "b.txt")

    def cut_off(run: Run) -> None:
        first.work(run)
        raise RuntimeError("killed")

    run = runs.create(out, source, Settings(), "cpu")
    with pytest.raises(RuntimeError, match="killed"):
        run.perform(replace(first, work=cut_off))
    with pytest.raises(StaleError, match="run `copy` again"):
        run.perform(second)
    assert run.perform(after("glance", "result.txt?", "c.txt"))
    run.perform(first)
    assert run.perform(second)


def test_a_setting_that_came_later_was_at_its_default(source: Path, out: Path) -> None:
    run = runs.create(out, source, Settings(), "cpu")
    run.perform(make([]))
    del run.record["stages"]["copy"]["fingerprint"]["settings"]["split.folds"]
    run.save()
    assert not runs.create(out, source, Settings(), "cpu").perform(make([]))
    with pytest.raises(StaleError, match=r"split\.folds changed from 5 to 7"):
        runs.create(out, source, parse({"split": {"folds": 7}}), "cpu").perform(make([]))


def test_a_setting_of_another_stage_does_not_matter(source: Path, out: Path) -> None:
    runs.create(out, source, Settings(), "cpu").perform(make([]))
    assert not runs.create(out, source, parse({"gan": {"alpha": 1}}), "cpu").perform(make([]))


def test_a_setting_may_name_a_folder_and_what_is_in_it_counts(source: Path, out: Path) -> None:
    settings = parse({"classifier": {"init": str(source)}})
    stage = Stage("copy", ("classifier.init",), (), ("result.txt",), make([]).work)
    assert runs.create(out, source, settings, "cpu").perform(stage)
    assert not runs.create(out, source, settings, "cpu").perform(stage)
    (source / "a.png").write_text("two")
    with pytest.raises(StaleError, match=r"classifier\.init"):
        runs.create(out, source, settings, "cpu").perform(stage)


def test_changed_images_are_noticed(source: Path, out: Path) -> None:
    runs.create(out, source, Settings(), "cpu").perform(make([]))
    (source / "a.png").write_text("two")
    with pytest.raises(StaleError, match="images changed"):
        runs.create(out, source, Settings(), "cpu").perform(make([]))


def test_an_interrupted_stage_is_done_again_and_its_time_adds_up(source: Path, out: Path) -> None:
    log: list[str] = []
    with pytest.raises(RuntimeError, match="killed"):
        runs.create(out, source, Settings(), "cpu").perform(make(log, fail=True))
    record = json.loads((out / RECORD).read_text())
    assert record["stages"]["copy"]["status"] == "started"
    assert runs.create(out, source, Settings(), "cpu").perform(make(log))
    assert log == ["worked", "worked"]


def begun(out: Path, source: Path, changes: dict[str, float], stage: Stage, **given: bool) -> None:
    runs.create(out, source, parse({"gan": changes}), "cpu").perform(stage, **given)


def gan_stage(left: list[bool], fail: bool) -> Stage:
    """A stage that leaves a checkpoint and notes whether it found the one before."""

    def work(run: Run) -> None:
        (run.folder / "gan").mkdir(exist_ok=True)
        checkpoint = run.folder / "gan" / "checkpoint"
        left.append(checkpoint.is_file())
        checkpoint.touch()
        if fail:
            raise RuntimeError("killed")
        (run.folder / "gan" / "done").touch()

    return Stage("train-gan", ("gan",), (), ("gan/done",), work, longer=("gan.total_kimg",))


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"devices": 2}, True),
        ({"nodes": 2}, True),
        ({"total_kimg": 3.0}, True),
        ({"total_kimg": 1.0}, False),
        ({"total_kimg": 3.0, "alpha": 2.0}, False),
    ],
)
def test_what_an_interrupted_stage_left_is_kept_where_it_works_elsewhere_or_longer(
    source: Path, out: Path, change: dict[str, float], kept: bool
) -> None:
    left: list[bool] = []
    with pytest.raises(RuntimeError, match="killed"):
        begun(out, source, {"total_kimg": 2.0}, gan_stage(left, fail=True))
    changed = {"total_kimg": 2.0} | change
    if not kept:
        with pytest.raises(StaleError, match="since train-gan was begun"):
            begun(out, source, changed, gan_stage(left, fail=False))
        assert left == [False]
    begun(out, source, changed, gan_stage(left, fail=False), redo=not kept)
    assert left == [False, kept]


def test_a_finished_stage_goes_on_where_it_is_to_work_longer(source: Path, out: Path) -> None:
    left: list[bool] = []
    stage = gan_stage(left, fail=False)
    begun(out, source, {"total_kimg": 2.0}, stage)
    begun(out, source, {"total_kimg": 2.0, "devices": 2}, stage)
    assert left == [False]
    with pytest.raises(StaleError, match=r"gan\.total_kimg changed from 2\.0 to 3\.0"):
        begun(out, source, {"total_kimg": 3.0}, stage)
    begun(out, source, {"total_kimg": 3.0}, stage, redo=True)
    begun(out, source, {"total_kimg": 2.0}, stage, redo=True)
    assert left == [False, True, False]


def test_of_a_run_that_a_gan_starts_from_its_generator_alone_counts(
    source: Path, out: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    (other / "gan").mkdir(parents=True)
    snapshot, page = other / "gan" / "snapshot.safetensors", other / "report.html"
    snapshot.write_text("one")
    settings = parse({"gan": {"init": str(other)}})
    stage = Stage("copy", ("gan.init",), (), ("result.txt",), make([]).work)
    assert runs.create(out, source, settings, "cpu").perform(stage)
    page.write_text("later")
    assert not runs.create(out, source, settings, "cpu").perform(stage)
    snapshot.write_text("two")
    with pytest.raises(StaleError, match=r"gan\.init"):
        runs.create(out, source, settings, "cpu").perform(stage)


def test_a_file_of_a_setting_may_be_moved(source: Path, out: Path, tmp_path: Path) -> None:
    stage = Stage("copy", ("classifier.weights",), (), ("result.txt",), make([]).work)

    def performed(name: str, content: str) -> bool:
        (tmp_path / name).write_text(content)
        settings = parse({"classifier": {"weights": str(tmp_path / name)}})
        return runs.create(out, source, settings, "cpu").perform(stage)

    assert performed("here", "one")
    assert not performed("there", "one")
    with pytest.raises(StaleError, match=r"the file of classifier\.weights changed"):
        performed("elsewhere", "two")


def test_what_a_stage_left_beside_its_files_is_looked_after(source: Path, out: Path) -> None:
    log: list[str] = []
    assert runs.create(out, source, Settings(), "cpu").perform(make(log))
    damaged = replace(make(log), whole=lambda _: False)
    assert runs.create(out, source, Settings(), "cpu").perform(damaged)
    assert log == ["worked", "worked"]


def test_a_failed_benchmark_keeps_its_finished_units(tmp_path: Path, source: Path) -> None:
    out, empty = tmp_path / "benchmark", tmp_path / "nothing"
    unit = out / "units" / "none-seed0-fold0"

    def fail(folder: Path, *, finish: bool) -> NoReturn:
        with locked(folder):
            unit.mkdir(parents=True, exist_ok=True)
            if finish:
                runs.new(unit, source, Settings(), "cpu").perform(make([]))
            raise InputError("a process was killed")

    with pytest.raises(InputError, match="was killed"):
        fail(out, finish=True)
    assert (unit / "result.txt").is_file()
    with pytest.raises(InputError, match="was killed"):
        fail(empty, finish=False)
    assert not empty.exists()


def test_a_missing_input_is_named(source: Path, out: Path) -> None:
    stage = Stage("next", (), ("splits.csv",), (), lambda _: None)
    with pytest.raises(InputError, match=r"splits\.csv before next"):
        runs.create(out, source, Settings(), "cpu").perform(stage)


def test_a_folder_with_other_things_is_refused(source: Path, out: Path) -> None:
    (out / "thesis.docx").write_text("precious")
    with pytest.raises(InputError, match="not empty and not a run folder"):
        runs.create(out, source, Settings(), "cpu")


def test_another_source_is_refused(source: Path, out: Path, tmp_path: Path) -> None:
    runs.create(out, source, Settings(), "cpu").perform(make([]))
    with pytest.raises(InputError, match="choose another --out"):
        runs.create(out, tmp_path, Settings(), "cpu")


def test_two_processes_cannot_work_in_one_folder(out: Path) -> None:
    with (
        locked(out),
        pytest.raises(InputError, match="Another process"),
        locked(out),
    ):
        pass
    with locked(out):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_locks_is_not_called_another_process(
    out: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("sonobalance.locking.fcntl.flock", fail)
    said = r"cannot lock files.*choose another --out"
    with pytest.raises(InputError, match=said), locked(out):
        pass


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="choose another --out"), locked(tmp_path / "file"):
        pass
