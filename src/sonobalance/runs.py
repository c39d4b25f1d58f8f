"""The run folder: what was asked, what was done, and whether it is still true."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sonobalance.aside import begun, bring_back, drop_aside, put_aside, remove_left, settle
from sonobalance.chain import check_chain, digests_in
from sonobalance.config import Settings
from sonobalance.environment import environment, peak_memory_mib
from sonobalance.errors import CollapseError, InputError, SonobalanceError, StaleError
from sonobalance.files import read_json, sha256_of, write_json
from sonobalance.fingerprint import changes_of, fingerprint_of, only_longer
from sonobalance.layers import parse
from sonobalance.record import COLLAPSED, FINISHED, RECORD, STARTED


@dataclass(frozen=True)
class Stage:
    """One arrow of the data flow.

    Attributes:
        name: the command's name.
        settings: dotted names of the settings its result depends on.
        reads: files of the run folder it needs; a trailing `?` marks one that may be absent and
            `@source` stands for the images themselves, `@left-out` for the files that are none.
        writes: files it leaves; a finished stage has all of them, one at work may have some.
        work: does it.
        longer: settings that say how long it works; where only these grew, it goes on from what it
            left.
        random: whether it depends on the seed, too.
        whole: whether what it left beside the files of `writes` is as it was.
        cheap: whether it is done anew whenever it is asked for, as it costs nothing.
        resumes: whether it goes on from what it left when it was cut off.
    """

    name: str
    settings: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    work: Callable[[Run], None]
    longer: tuple[str, ...] = ()
    random: bool = True
    whole: Callable[[Run], bool] = lambda _: True
    cheap: bool = False
    resumes: bool = False


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
        """Note the settings and write `run.json` atomically."""
        self.record["settings"] = self.settings.model_dump(mode="json")
        self.write()

    def write(self) -> None:
        """Write `run.json` atomically, with the settings that were noted last."""
        write_json(self.path(RECORD), self.record)

    def perform(self, stage: Stage, *, redo: bool = False) -> bool:
        """Do a stage unless it is finished and still true; returns whether work was done.

        A stage that was interrupted goes on from its own checkpoints, also on other devices. What
        `redo` is to replace is put aside until the new result is there.

        Raises:
            InputError: a file it reads is missing.
            StaleError: it was done or begun with other settings or inputs, or what it left was
                edited since, and `redo` is False; or what it reads does not follow from what the
                run holds now.
        """
        settle(self, stage)
        digest = digests_in(self)
        fingerprint = fingerprint_of(self, stage, digest)
        check_chain(self, stage.reads, digest)
        back = self._brought_back(stage, fingerprint, redo=redo)
        done = self.record["stages"].get(stage.name, {})
        finished = done.get("status") == FINISHED
        changes = changes_of(done.get("fingerprint"), fingerprint)
        if done and changes:
            self._give_way(stage, done, fingerprint, changes, redo=redo or stage.cheap)
        elif finished and not stage.cheap and self._intact(stage, redo=redo):
            if back:
                self.save()
            return False
        elif finished and not stage.resumes:
            put_aside(self, stage)
        self._work(stage, fingerprint)
        return True

    def _brought_back(self, stage: Stage, fingerprint: dict[str, Any], *, redo: bool) -> bool:
        """Bring back what was put aside if that is what is asked for; returns whether it was."""
        done = self.record["stages"].get(stage.name, {})
        before = done.get("before")
        if not before or changes_of(before["fingerprint"], fingerprint):
            return False
        if done["status"] == STARTED and begun(self, stage):
            changes = changes_of(done["fingerprint"], fingerprint)
            if not changes:
                return False  # it goes on
            if not redo:
                raise StaleError(
                    f"{next(iter(changes.values()))} since {stage.name} was begun anew in "
                    f"{self.folder}; go on with what it was, or give --redo to give that up and "
                    "keep what was finished before."
                )
        bring_back(self, stage)
        return True

    def _give_way(
        self, stage: Stage, done: dict[str, Any], fingerprint: dict[str, Any],
        changes: dict[str, str], *, redo: bool,
    ) -> None:  # fmt: skip
        """What a stage left with other settings or inputs is gone on with, put aside or removed."""
        longer = only_longer(stage, done["fingerprint"], fingerprint, changes)
        change, finished = next(iter(changes.values())), done["status"] == FINISHED
        if finished and not redo:
            raise StaleError(
                f"{change} since {stage.name} was done in {self.folder}; give --redo to repeat it "
                "(`run` repeats what follows, too), or choose another --out."
            )
        if longer:
            done["status"] = STARTED  # its time adds up
        elif finished:
            put_aside(self, stage)
        elif done["status"] == STARTED and not redo and begun(self, stage):
            raise StaleError(
                f"{change} since {stage.name} was begun in {self.folder}; go on with what it was, "
                "or give --redo to begin anew."
            )
        else:
            remove_left(self, stage)
            kept = {"before": done["before"]} if "before" in done else {}
            self.record["stages"][stage.name] = kept

    def forget(self, stage: Stage) -> None:
        """Remove what a stage left, finished or not."""
        remove_left(self, stage)
        drop_aside(self, stage)
        self.record["stages"].pop(stage.name, None)

    def _work(self, stage: Stage, fingerprint: dict[str, Any]) -> None:
        earlier, settings = self.record["stages"].get(stage.name, {}), self.record["settings"]
        again = earlier.get("status") == STARTED
        entry: dict[str, Any] = {
            "status": STARTED,
            "started": now(),
            "seconds": earlier.get("seconds", 0.0) if again else 0.0,
            "fingerprint": fingerprint,
            "outputs": dict.fromkeys(stage.writes),
        }
        if "before" in earlier:
            entry["before"] = earlier["before"]
        self.record["stages"][stage.name] = entry
        self.save()
        begin, worked = time.perf_counter(), time.process_time()
        try:
            stage.work(self)
        except (SonobalanceError, KeyboardInterrupt) as error:
            refused = isinstance(error, SonobalanceError) and not isinstance(error, CollapseError)
            if refused and not again and not begun(self, stage):
                self._as_it_was(stage, entry, settings)
                raise
            entry["status"] = COLLAPSED if isinstance(error, CollapseError) else STARTED
            entry["seconds"] = round(entry["seconds"] + time.perf_counter() - begin, 2)
            self.save()
            raise
        entry["status"] = FINISHED
        entry["seconds"] = round(entry["seconds"] + time.perf_counter() - begin, 2)
        entry["processor_seconds"] = round(time.process_time() - worked, 2)
        entry["environment"] = environment()
        entry["peak_memory_mib"] = round(peak_memory_mib())
        entry["outputs"] = {name: sha256_of(self.path(name)) for name in stage.writes}
        entry.pop("before", None)
        self.save()
        drop_aside(self, stage)

    def _as_it_was(self, stage: Stage, entry: dict[str, Any], settings: dict[str, Any]) -> None:
        """A stage that was refused before it learnt anything leaves no trace."""
        self.record["settings"] = settings
        if "before" in entry:
            bring_back(self, stage)
        else:
            self.forget(stage)
            self.write()

    def edited(self, stage: Stage) -> list[str]:
        """Files of a finished stage that are no longer as it wrote them."""
        done = self.record["stages"].get(stage.name, {})
        recorded = done.get("outputs", {}) if done.get("status") == FINISHED else {}
        there = [name for name in stage.writes if self.path(name).is_file()]
        return [n for n in there if recorded.get(n) not in (None, sha256_of(self.path(n)))]

    def _intact(self, stage: Stage, *, redo: bool) -> bool:
        """Whether all that a finished stage left is there; what was edited since is not lost."""
        edited = self.edited(stage)
        if edited and not redo:
            raise StaleError(
                f"{self.path(edited[0])} was edited since {stage.name} wrote it; give --redo to "
                f"write it anew, or the commands of the stages after {stage.name} to go on with it."
            )
        recorded = self.record["stages"][stage.name].get("outputs", {})
        whole = all(self.path(name).is_file() and name in recorded for name in stage.writes)
        return not edited and whole and stage.whole(self)


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
