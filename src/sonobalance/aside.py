"""What a stage left before `--redo`: kept until the new result is there.

It lies in `.before-STAGE/` of the run folder; its entry in `run.json` stands as `before` in the
entry of the stage that works anew. Whoever gives the former settings again gets it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sonobalance.files import remove

if TYPE_CHECKING:
    from sonobalance.runs import Run, Stage

PRELIMINARY = "trained_on.txt"  # written before anything is learnt


def put_aside(run: Run, stage: Stage) -> None:
    """Move what a finished stage left out of the way, and begin its entry with what it was."""
    place = _place(run, stage)
    remove(place)
    place.mkdir()
    for path in _left(run, stage):
        path.rename(place / path.name)
    before = run.record["stages"][stage.name]
    run.record["stages"][stage.name] = {"before": before}


def bring_back(run: Run, stage: Stage) -> None:
    """Undo `put_aside`: what was left since is removed."""
    before = run.record["stages"][stage.name]["before"]
    remove_left(run, stage)
    for path in _place(run, stage).iterdir():
        path.rename(run.path(path.name))
    drop_aside(run, stage)
    run.record["stages"][stage.name] = before


def drop_aside(run: Run, stage: Stage) -> None:
    """Remove what was put aside."""
    remove(_place(run, stage))


def remove_left(run: Run, stage: Stage) -> None:
    """Remove what a stage left, finished or not."""
    for path in _left(run, stage):
        remove(path)


def begun(run: Run, stage: Stage) -> bool:
    """Whether a stage that was cut off left anything that it could go on from."""
    return any(
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
