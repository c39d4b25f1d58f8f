"""The run folder: what was asked, what was done, and whether it is still true."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from sonobalance.config import Settings
from sonobalance.environment import environment, peak_memory_mib
from sonobalance.errors import InputError, SonobalanceError, StaleError
from sonobalance.files import read_json, remove, sha256_of, unwritable, write_json
from sonobalance.fingerprint import changes_of, digest_of_setting, only_longer, plain, settings_of
from sonobalance.layers import parse

RECORD = "run.json"
SOURCE = "@source"


@dataclass(frozen=True)
class Stage:
    """One arrow of the data flow.

    Attributes:
        name: the command's name.
        settings: dotted names of the settings its result depends on (besides the seed).
        reads: files of the run folder it needs; a trailing `?` marks one that may be absent and
            `@source` stands for the images themselves.
        writes: files it leaves; all are there exactly when it finished.
        work: does it.
        longer: settings that say how long it works; where only these grew, it goes on from what it
            left.
        whole: whether what it left beside the files of `writes` is as it was.
    """

    name: str
    settings: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    work: Callable[[Run], None]
    longer: tuple[str, ...] = ()
    whole: Callable[[Run], bool] = lambda _: True


class Run:
    """A run folder and its record `run.json`.

    Attributes:
        folder: where everything is written.
        settings: the resolved settings.
        source: the folder or index file the images come from.
    """

    def __init__(self, folder: Path, settings: Settings, record: dict[str, Any]) -> None:
        self.folder, self.settings, self.record = folder, settings, record

    @property
    def source(self) -> Path:
        """The folder or index file the images come from."""
        return Path(self.record["source"])

    def path(self, name: str) -> Path:
        """A file of the run folder."""
        return self.folder / name

    def save(self) -> None:
        """Write `run.json` atomically."""
        self.record["settings"] = self.settings.model_dump(mode="json")
        write_json(self.path(RECORD), self.record)

    def perform(self, stage: Stage, *, redo: bool = False, anew: bool = False) -> bool:
        """Do a stage unless it is finished and still true; returns whether work was done.

        A stage that was interrupted goes on from its own checkpoints, also on other devices. With
        `anew` it is done in any case.

        Raises:
            InputError: a file it reads is missing.
            StaleError: it finished with other settings or inputs and `redo` is False.
        """
        fingerprint = self._fingerprint(stage)
        done = self.record["stages"].get(stage.name, {})
        changes = changes_of(done.get("fingerprint"), fingerprint)
        if done and changes:
            if done["status"] == "finished" and not redo:
                raise StaleError(
                    f"{next(iter(changes.values()))} since {stage.name} was done in {self.folder}; "
                    "give --redo to repeat it and what follows, or choose another --out."
                )
            if only_longer(stage, done["fingerprint"], fingerprint, changes):
                done["status"] = "started"  # its time adds up
            else:
                self.forget(stage)
        elif done.get("status") == "finished" and not anew and self._intact(stage):
            return False
        self._work(stage, fingerprint)
        return True

    def forget(self, stage: Stage) -> None:
        """Remove what a stage left, finished or not."""
        for name in stage.writes:
            remove(self.path(name.split("/")[0]))
        self.record["stages"].pop(stage.name, None)

    def _work(self, stage: Stage, fingerprint: dict[str, Any]) -> None:
        earlier = self.record["stages"].get(stage.name, {})
        entry: dict[str, Any] = {
            "status": "started",
            "started": now(),
            "seconds": earlier.get("seconds", 0.0) if earlier.get("status") == "started" else 0.0,
            "fingerprint": fingerprint,
        }
        self.record["stages"][stage.name] = entry
        self.save()
        begin, worked = time.perf_counter(), time.process_time()
        stage.work(self)
        entry["status"] = "finished"
        entry["seconds"] = round(entry["seconds"] + time.perf_counter() - begin, 2)
        entry["processor_seconds"] = round(time.process_time() - worked, 2)
        entry["environment"] = environment()
        entry["peak_memory_mib"] = round(peak_memory_mib())
        entry["outputs"] = {name: sha256_of(self.path(name)) for name in stage.writes}
        self.save()

    def _fingerprint(self, stage: Stage) -> dict[str, Any]:
        inputs = {}
        for item in stage.reads:
            if item == SOURCE:
                inputs[str(self.source)] = _source_digest(self.source, self.settings)
                continue
            name, optional = item.removesuffix("?"), item.endswith("?")
            if self.path(name).is_file():
                inputs[name] = sha256_of(self.path(name))
            elif not optional:
                raise InputError(
                    f"Expected {self.path(name)} before {stage.name}, but it is missing; "
                    f"run the earlier stages on {self.folder} first."
                )
        chosen = settings_of(stage, self.settings)
        files = {name: value for name, value in chosen.items() if isinstance(value, Path)}
        for name, value in files.items():
            inputs[f"the file of {name}"] = digest_of_setting(name, value)
        return {"settings": plain(chosen), "inputs": inputs}

    def _intact(self, stage: Stage) -> bool:
        recorded = self.record["stages"][stage.name].get("outputs", {})
        return all(
            self.path(name).is_file() and sha256_of(self.path(name)) == recorded.get(name)
            for name in stage.writes
        ) and stage.whole(self)


def _source_digest(source: Path, settings: Settings) -> str:
    from sonobalance.data.extent import source_digest  # noqa: PLC0415 - readers are heavy

    return source_digest(source, settings.data)


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
                remove(folder)
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
    return any(stage["status"] == "finished" for stages in records for stage in stages)


def create(folder: Path, source: Path, settings: Settings, preset: str | None) -> Run:
    """Open the run folder, or start it.

    Raises:
        InputError: the folder holds something else, or a run on another source.
    """
    source = source.absolute()
    if (folder / RECORD).is_file():
        run = open_run(folder)
        if run.source != source:
            raise InputError(
                f"{folder} is a run on {run.source}, not on {source}; choose another --out."
            )
        return Run(folder, settings, run.record | {"preset": preset or run.record["preset"]})
    if any(path.name != ".lock" for path in folder.iterdir()):
        raise InputError(f"{folder} is not empty and not a run folder; choose another --out.")
    return new(folder, source, settings, preset)


def new(folder: Path, source: Path, settings: Settings, preset: str | None) -> Run:
    """A run that has done nothing; the first `save` makes the folder a run folder."""
    record: dict[str, Any] = {
        "name": source.name,
        "source": str(source),
        "created": now(),
        "preset": preset,
        "settings": {},
        "environment": environment(),
        "stages": {},
        "skipped": [],
    }
    return Run(folder, settings, record)


def open_run(folder: Path) -> Run:
    """Open an existing run folder with the settings it was made with.

    Raises:
        InputError: it is not a run folder.
        SettingsError: it was made by a version with other settings.
    """
    if not (folder / RECORD).is_file():
        raise InputError(f"Expected a run folder with {RECORD} at {folder}, but there is none.")
    record = read_json(folder / RECORD)
    return Run(folder, parse(record["settings"]), record)


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
