"""Stages that take no time, shared by the tests of runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sonobalance import runs
from sonobalance.fingerprint import SOURCE
from sonobalance.layers import parse
from sonobalance.runs import Run, Stage


def make(run_log: list[str], fail: bool = False) -> Stage:
    def work(run: Run) -> None:
        run_log.append("worked")
        if fail:
            raise RuntimeError("killed")
        (run.folder / "result.txt").write_text(str(run.settings.split.folds))

    return Stage("copy", ("split.folds",), (SOURCE,), ("result.txt",), work)


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

    return Stage(
        "train-gan", ("gan",), (), ("gan/done",), work, longer=("gan.total_kimg",), resumes=True
    )


def after(name: str, reads: str, writes: str) -> Stage:
    """A stage that writes what it reads."""

    def work(run: Run) -> None:
        (run.folder / writes).write_text((run.folder / reads.removesuffix("?")).read_text())

    return Stage(name, (), (reads,), (writes,), work)


def refusing(error: type[Exception]) -> Stage:
    """A stage that ends in an error before it leaves anything."""

    def work(run: Run) -> None:
        raise error("no such backbone")

    return replace(make([]), work=work)
