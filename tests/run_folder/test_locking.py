"""One process works in a folder, and leaves none behind for bad input."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest
from made_up_stages import make

from sonobalance import runs
from sonobalance.config import Settings
from sonobalance.errors import InputError
from sonobalance.locking import locked


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
