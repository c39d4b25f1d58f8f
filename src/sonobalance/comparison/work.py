"""Doing one unit: prepare its folder, then perform its stages; both can be repeated at will."""

from __future__ import annotations

import shutil
from pathlib import Path

from sonobalance import runs
from sonobalance.artefacts import collapsed
from sonobalance.chain import digests_in
from sonobalance.comparison.external import External, predict_external
from sonobalance.comparison.units import ARM_STAGES, Unit
from sonobalance.errors import CollapseError
from sonobalance.files import read_json, remove
from sonobalance.fingerprint import changes_of, fingerprint_of
from sonobalance.locking import locked
from sonobalance.progress import console
from sonobalance.record import FINISHED, RECORD
from sonobalance.runs import Run
from sonobalance.stages import GAN_STAGES, STAGES
from sonobalance.version import __version__

SHARED = ("manifest.csv", "groups.csv")
FEATURES = "features"


def prepare(unit: Unit, base: Run) -> None:
    """Lay out the unit's folder, so that any machine that sees it can do the work."""
    folder = unit.folder
    if not (folder / RECORD).is_file():
        remove(folder)
        folder.mkdir(parents=True)
        for name in SHARED:
            shutil.copyfile(base.path(name), folder / name)
        unit.fold.splits.write(folder / "splits.csv")
        run = runs.new(folder, base.source, unit.settings, base.record["preset"])
        if unit.arm is None:
            _take_generator(run)
        run.save()
    else:  # the same content may lie elsewhere, and be worked on by other devices
        runs.Run(folder, unit.settings, read_json(folder / RECORD)).save()
    if unit.gan:
        for name in ("gan", "synthesis"):
            _link(folder / name, unit.gan.folder / name)
    base.path(FEATURES).mkdir(exist_ok=True)
    _link(folder / FEATURES, base.path(FEATURES))


def _take_generator(run: Run) -> None:
    """What an earlier unit trained needs no second training where only the synthesis changed."""
    stage, (begins, _, _) = STAGES[GAN_STAGES[0]], run.folder.name.rpartition("-")
    wanted = fingerprint_of(run, stage, digests_in(run))
    for path in sorted(run.folder.parent.glob(f"{begins}-*/{RECORD}")):
        other = Run(path.parent, run.settings, read_json(path))
        done = other.record["stages"].get(stage.name, {})
        if done.get("status") != FINISHED or changes_of(done["fingerprint"], wanted):
            continue
        of_today = done["environment"]["sonobalance"] == __version__
        if of_today and other.path("gan").is_dir() and not other.edited(stage):
            shutil.copytree(other.path("gan"), run.path("gan"))
            run.record["stages"][stage.name] = done
            return


def perform(folder: Path, arm: str | None, external: External | None = None) -> str:
    """Do what is left of a prepared unit; returns its name.

    A GAN that collapses leaves its arms without synthetic images; they are trained and counted all
    the same, since dropping them would compare the arms on different folds.
    """
    with locked(folder):
        run = runs.open_run(folder)
        for name in ARM_STAGES if arm else GAN_STAGES:
            if not arm and collapsed(run):
                break
            try:
                run.perform(STAGES[name], redo=True)  # its name says what it is; a GAN may be new
            except CollapseError as error:
                console.print(f"  {error} Its arms go on with real images alone.")
        if arm and external:
            predict_external(folder, arm, external)
    return folder.name


def finished(unit: Unit, external: External | None = None) -> bool:
    """Whether the unit's last stage is done."""
    if not (unit.folder / RECORD).is_file():
        return False
    run = runs.open_run(unit.folder)
    last = (ARM_STAGES if unit.arm else GAN_STAGES)[-1]
    ended = run.record["stages"].get(last, {}).get("status") == FINISHED and all(
        (unit.folder / name).is_file() for name in STAGES[last].writes
    )
    predicted = not (unit.arm and external) or (unit.folder / external.name).is_file()
    return (ended and predicted) or (unit.arm is None and collapsed(run))


def _link(link: Path, target: Path) -> None:
    """A relative link, so that the whole benchmark can be moved."""
    if not link.is_symlink():
        link.symlink_to(Path("..") / ".." / target.relative_to(link.parents[2]))
