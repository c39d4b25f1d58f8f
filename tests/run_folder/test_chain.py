"""No file is used that does not follow from what the run holds now."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from made_up_stages import after, make

from sonobalance import runs
from sonobalance.chain import check_chain
from sonobalance.config import Settings
from sonobalance.errors import StaleError
from sonobalance.layers import parse
from sonobalance.runs import Run


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


def test_further_up_the_parts_alone_count(source: Path, out: Path) -> None:
    """A generator that learnt more makes no classifier untrue that is there; other parts do."""

    def parts(run: Run) -> None:
        (run.folder / "splits.csv").write_text(str(run.settings.split.folds))

    stages = [
        replace(make([]), name="split", writes=("splits.csv",), work=parts),
        after("train-gan", "splits.csv", "gan.txt"),
        after("synthesize", "gan.txt", "made.txt"),
        after("train", "made.txt", "model.txt"),
        after("predict", "model.txt", "table.txt"),
    ]
    run = runs.create(out, source, Settings(), "cpu")
    for stage in stages:
        run.perform(stage)
    longer = replace(stages[1], settings=("gan.alpha",))
    more = runs.create(out, source, parse({"gan": {"alpha": 0.5}}), "cpu")
    work = longer.work

    def trained(run: Run) -> None:
        work(run)
        (run.folder / "gan.txt").write_text("more")

    more.perform(replace(longer, work=trained), redo=True)
    check_chain(more, ["table.txt"])
    with pytest.raises(StaleError, match=r"gan\.txt changed since synthesize"):
        check_chain(more, ["made.txt"])
    changed = runs.create(out, source, parse({"split": {"folds": 7}}), "cpu")
    changed.perform(stages[0], redo=True)
    with pytest.raises(StaleError, match=r"splits\.csv changed since train-gan"):
        check_chain(changed, ["table.txt"])
    (out / "splits.csv").write_text("by hand")
    with pytest.raises(StaleError, match=r"repeat `train-gan` with --redo\.$"):
        check_chain(changed, ["gan.txt"])


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
