"""What a stage left before `--redo`: kept until the new result is there.

It lies in `.before-STAGE/` of the run folder; its entry in `run.json` stands as `before` in the
entry of the stage that works anew. Whoever gives the former settings again, with `--redo` where
new work has begun, gets it back. The record says that files are moving before the first one moves,
so that a process that is killed on the way, or finds the disk full, loses nothing: `settle` then
brings all of them back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sonobalance.files import remove
from sonobalance.record import MOVING

if TYPE_CHECKING:
    from sonobalance.runs import Run, Stage

PRELIMINARY = "trained_on.txt"  # written before anything is learnt


def put_aside(run: Run, stage: Stage) -> None:
    """Move what a finished stage left out of the way."""
    entries, place = run.record["stages"], _place(run, stage)
    entries[stage.name] = {"status": MOVING, "before": entries[stage.name]}
    run.write()
    remove(place)  # of a redo that was finished, but killed before it could remove this
    place.mkdir()
    for path in _left(run, stage):
        path.rename(place / path.name)


def bring_back(run: Run, stage: Stage) -> None:
    """Undo `put_aside`; what was left since is removed."""
    entries, place = run.record["stages"], _place(run, stage)
    before = entries[stage.name]["before"]
    entries[stage.name] = {"status": MOVING, "before": before}
    run.write()
    for path in place.iterdir() if place.is_dir() else ():
        remove(run.path(path.name))
        path.rename(run.path(path.name))
    entries[stage.name] = before
    run.write()
    drop_aside(run, stage)


def settle(run: Run, stage: Stage) -> None:
    """Bring back what was on its way when a process was killed."""
    if run.record["stages"].get(stage.name, {}).get("status") == MOVING:
        bring_back(run, stage)


def drop_aside(run: Run, stage: Stage) -> None:
    """Remove what was put aside."""
    remove(_place(run, stage))


def remove_left(run: Run, stage: Stage) -> None:
    """Remove what a stage left, finished or not."""
    for path in _left(run, stage):
        remove(path)


def begun(run: Run, stage: Stage) -> bool:
    """Whether a stage that was cut off left anything that it could go on from."""
    return stage.resumes and any(
        path.is_file() and path.name != PRELIMINARY
        for top in _left(run, stage)
        for path in (top, *top.rglob("*"))
    )


def _left(run: Run, stage: Stage) -> Iterator[Path]:
    """The files and folders right below the run folder that a stage writes, where there are any."""
    for name in sorted({name.split("/")[0] for name in stage.writes}):
        path = run.path(name)
        if path.exists() or path.is_symlink():
            yield path


def _place(run: Run, stage: Stage) -> Path:
    return run.path(f".before-{stage.name}")
