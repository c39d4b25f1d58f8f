"""A stage is done once, goes on when interrupted, and is refused when it is no longer true."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_stages import begun, gan_stage, make

from sonobalance import runs
from sonobalance.config import Settings
from sonobalance.errors import InputError, StaleError
from sonobalance.layers import parse
from sonobalance.record import RECORD
from sonobalance.runs import Run, Stage


def test_a_finished_stage_is_not_repeated(source: Path, out: Path) -> None:
    log: list[str] = []
    assert runs.create(out, source, Settings(), "cpu").perform(make(log))
    assert not runs.create(out, source, Settings(), "cpu").perform(make(log))
    assert log == ["worked"]


def test_a_stage_that_costs_nothing_is_done_whenever_it_is_asked_for(
    source: Path, out: Path
) -> None:
    log: list[str] = []
    for _ in range(2):
        assert runs.create(out, source, Settings(), "cpu").perform(replace(make(log), cheap=True))
    assert log == ["worked", "worked"]


def test_an_edited_result_is_kept_until_redo_and_a_missing_one_made_again(
    source: Path, out: Path
) -> None:
    result = out / "result.txt"
    runs.create(out, source, Settings(), "cpu").perform(make([]))
    result.write_text("by hand")
    with pytest.raises(StaleError, match=r"result\.txt was edited since copy wrote it"):
        runs.create(out, source, Settings(), "cpu").perform(make([]))
    assert result.read_text() == "by hand"
    assert runs.create(out, source, Settings(), "cpu").perform(make([]), redo=True)
    assert result.read_text() == "5"
    result.unlink()
    assert runs.create(out, source, Settings(), "cpu").perform(make([]))
    assert result.read_text() == "5"


def test_a_changed_setting_is_named_and_refused(source: Path, out: Path) -> None:
    runs.create(out, source, Settings(), "cpu").perform(make([]))
    changed = runs.create(out, source, parse({"split": {"folds": 7}}), "cpu")
    with pytest.raises(StaleError, match=r"split\.folds changed from 5 to 7"):
        changed.perform(make([]))
    assert (out / "result.txt").read_text() == "5"
    assert changed.perform(make([]), redo=True)
    assert (out / "result.txt").read_text() == "7"


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


def test_a_key_taken_out_of_a_table_is_a_change(source: Path, out: Path) -> None:
    stage = replace(make([]), settings=("synthesis.counts",))

    def counting(*classes: str) -> runs.Run:
        table = dict.fromkeys(classes, 300)
        return runs.create(out, source, parse({"synthesis": {"counts": table}}), "cpu")

    counting("malignant", "normal").perform(stage)
    assert not counting("malignant", "normal").perform(stage)
    with pytest.raises(StaleError, match=r"synthesis.counts.normal changed from 300 to None"):
        counting("malignant").perform(stage)


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


def test_time_that_was_cut_off_by_ctrl_c_adds_up(source: Path, out: Path) -> None:
    def slow(run: Run) -> None:
        (run.folder / "result.txt").touch()
        time.sleep(0.2)
        if not again:
            raise KeyboardInterrupt

    again: list[bool] = []
    stage = replace(make([]), work=slow, resumes=True)
    with pytest.raises(KeyboardInterrupt):
        runs.create(out, source, Settings(), "cpu").perform(stage)
    again.append(True)
    runs.create(out, source, Settings(), "cpu").perform(stage)
    assert runs.open_run(out).record["stages"]["copy"]["seconds"] >= 0.4
