"""One progress bar with remaining time, on standard error; a line now and then in a log file."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")
console = Console(stderr=True, highlight=False, markup=False)  # names may hold brackets
_bars = True
LINE_EVERY_S = 60.0  # where a bar cannot move, as in the log of a batch job


def hide_bars() -> None:
    """Show no bars in this process, where they would cross those of others; sentences remain."""
    global _bars  # noqa: PLW0603
    _bars = False


class Bar:
    """A running bar; `advance` moves it and may show a short note such as a loss."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress, self._task = progress, progress.tasks[task]
        self._done, self._told = self._task.completed, time.monotonic()

    def advance(self, n: float = 1, note: str = "") -> None:
        """Move by `n` units and show `note` behind the bar."""
        self._done += n
        done = round(self._done, 6)  # thirds of a unit add up to it
        self._progress.update(self._task.id, completed=done, note=note)
        still = not (self._progress.disable or console.is_terminal)
        if still and time.monotonic() - self._told >= LINE_EVERY_S:
            self._told = time.monotonic()
            console.print(self._line(note))

    def _line(self, note: str) -> str:
        task, left = self._task, self._task.time_remaining
        rest = "" if left is None else f", {timedelta(seconds=left)} left"
        return f"{task.description} {self._done:g} of {task.total:g}{rest}{note and f', {note}'}"


@contextmanager
def bar(title: str, total: float, done: float = 0) -> Iterator[Bar]:
    """Show a bar titled `title` over `total` units, of which `done` are finished already.

    Without a title there is none, as for a part of what another bar shows.
    """
    shown = _bars and bool(title)
    columns = (
        TextColumn("{task.description:<14}", markup=False), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(), TextColumn("{task.fields[note]}", markup=False),
    )  # fmt: skip
    with Progress(*columns, console=console, refresh_per_second=2, disable=not shown) as progress:
        task = progress.add_task(title, total=total, completed=done, note="")  # type: ignore[arg-type]
        yield Bar(progress, task)


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Iterate with a bar."""
    with bar(title, total) as shown:
        for item in items:
            yield item
            shown.advance()
