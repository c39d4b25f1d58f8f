"""Units of work: one GAN, or one arm, on one fold with one seed; each a run folder of its own.

A unit's folder carries a digest of everything its result depends on (the images, the parts, the
settings, the weights, the GAN it builds on), so that nothing is computed twice, a changed setting
never meets an old result, and any machine that shares the folder can do any unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sonobalance.arms import TREATMENTS
from sonobalance.config import Arm, Objective, Settings
from sonobalance.data.split import Splits
from sonobalance.files import sha256_of
from sonobalance.fingerprint import digest_of_content, digest_of_setting, settings_of
from sonobalance.runs import Run
from sonobalance.stages import GAN_STAGES, STAGES
from sonobalance.version import __version__

UNITS = "units"
ARM_STAGES = ("train", "predict")


@dataclass(frozen=True)
class Fold:
    """One training of every arm: which images are TRAIN, VAL and TEST.

    Attributes:
        seed: repetition.
        number: which fold is TEST.
        splits: the parts.
    """

    seed: int
    number: int
    splits: Splits = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """For folders and the reader."""
        return f"seed{self.seed}-fold{self.number}"


@dataclass(frozen=True)
class Unit:
    """One piece of work.

    Attributes:
        folder: its run folder, below the benchmark's.
        fold: the parts it works on.
        settings: resolved for this unit.
        arm: trained and tested here; None for a GAN with its synthesis.
        gan: the unit whose synthetic images the arm uses.
    """

    folder: Path
    fold: Fold
    settings: Settings = field(compare=False, repr=False)
    arm: Arm | None = None
    gan: Unit | None = field(default=None, compare=False, repr=False)

    @property
    def title(self) -> str:
        """For the reader."""
        return f"{self.arm or self.settings.gan.objective} {self.fold.name}"


def units_of(base: Run, folds: list[Fold], arms: tuple[Arm, ...]) -> Iterator[Unit]:
    """Every unit, fold by fold; a GAN stands before the arms that need it and is shared by them."""
    images = {"images": sha256_of(base.path("manifest.csv"))}
    for fold in folds:
        parts = images | {"parts": digest_of_content(_rows(fold.splits))}
        gans: dict[Objective, Unit] = {}
        for arm in arms:
            objective = TREATMENTS[arm].objective
            if objective and objective not in gans:
                gans[objective] = _unit(base, fold, parts, objective=objective)
                yield gans[objective]
            yield _unit(base, fold, parts, arm=arm, gan=gans[objective] if objective else None)


def _unit(
    base: Run,
    fold: Fold,
    parts: dict[str, Any],
    *,
    arm: Arm | None = None,
    objective: Objective | None = None,
    gan: Unit | None = None,
) -> Unit:
    settings = base.settings.model_copy(
        update={"seed": base.settings.seed + fold.seed, "arms": (arm,) if arm else ()}
    )
    if arm:  # measured, whatever the guard says; `guarded` is a row of its own
        free = settings.synthesis.model_copy(update={"harm_guard": False})
        settings = settings.model_copy(update={"synthesis": free})
    wanted = objective or (gan.settings.gan.objective if gan else None)
    if wanted:
        changed = settings.gan.model_copy(update={"objective": wanted})
        settings = settings.model_copy(update={"gan": changed})
    content = parts | {
        "arm": arm,
        "gan": gan.folder.name if gan else None,
        "settings": _relevant(settings, ARM_STAGES if arm else GAN_STAGES),
        "version": __version__,
    }
    name = f"{arm or f'gan-{objective}'}-{fold.name}-{digest_of_content(content)[:10]}"
    return Unit(base.folder.parent / UNITS / name, fold, settings, arm, gan)


def _relevant(settings: Settings, stages: tuple[str, ...]) -> dict[str, Any]:
    """The settings these stages depend on, with what is in a file in place of its path."""
    chosen = {k: v for name in stages for k, v in settings_of(STAGES[name], settings).items()}
    return {
        name: digest_of_setting(name, value) if isinstance(value, Path) else value
        for name, value in chosen.items()
    }


def _rows(splits: Splits) -> list[list[str]]:
    return [[r.id, r.label, splits.part[r.id], splits.group[r.id]] for r in splits.manifest]
