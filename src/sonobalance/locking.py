"""One process at a time in a run folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from sonobalance.errors import InputError, SonobalanceError
from sonobalance.files import read_json, remove, unwritable
from sonobalance.record import FINISHED, RECORD


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run folder for this process; the lock goes with the process, however it ends.

    A folder that was empty before and got no result because of bad input is removed again.

    Raises:
        InputError: the folder cannot be written or locked, or another process works in it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / ".lock").open("a")
    except OSError as error:
        raise unwritable(folder, error) from error
    with handle:
        _lock(handle, folder)
        fresh = not any(path.name != ".lock" for path in folder.iterdir())
        try:
            yield
        except SonobalanceError:
            if fresh and not _has_results(folder):
                for path in folder.iterdir():
                    remove(path)
                with suppress(OSError):  # where we are, a mounted volume, in somebody else's folder
                    folder.rmdir()
            raise


def _lock(handle: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"Another process is working in {folder}; wait for it or choose another --out."
        ) from None
    except OSError as error:
        raise InputError(
            f"The file system of {folder} cannot lock files ({error.strerror}); "
            "choose another --out."
        ) from None


def _has_results(folder: Path) -> bool:
    """Whether any stage of a run in this folder, or of a unit of its benchmark, has finished."""
    records = (read_json(path)["stages"].values() for path in folder.rglob(RECORD))
    return any(stage["status"] == FINISHED for stages in records for stage in stages)
