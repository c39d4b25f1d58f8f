"""Arms over grouped folds and seeds: what synthesis is worth against cheap rebalancing.

Each (seed, fold, objective) is a run folder of its own with the usual files, so that an interrupted
benchmark goes on where it was, and any unit can be looked at like a run.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from sonobalance import runs
from sonobalance.arms import TREATMENTS
from sonobalance.artefacts import splits_of
from sonobalance.config import Arm, Objective, Preset, Settings
from sonobalance.data.folds import fold_splits, repeated_folds
from sonobalance.data.split import Splits
from sonobalance.environment import environment
from sonobalance.errors import InputError
from sonobalance.evaluation.evaluate import evaluate_predictions
from sonobalance.evaluation.predictions import read_predictions, write_predictions
from sonobalance.files import write_json, write_text
from sonobalance.pipeline import check_source
from sonobalance.progress import console
from sonobalance.runs import Run
from sonobalance.stages import STAGES

DEFAULT_ARMS: tuple[Arm, ...] = (
    "none", "class-weights", "over-sampling", "strong-augmentation", "dual-iterative",
)  # fmt: skip
CHEAP: tuple[Arm, ...] = ("none", "class-weights", "over-sampling", "strong-augmentation")
SHARED = ("manifest.csv", "groups.csv")
SHOWN = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc")


@dataclass(frozen=True)
class Unit:
    """One piece of work: the arms of one GAN objective on one fold with one seed.

    Attributes:
        seed: repetition; the folds are dealt anew for each.
        fold: which fold is TEST.
        objective: of the GAN; None when no arm needs one.
        arms: trained here.
    """

    seed: int
    fold: int
    objective: Objective | None
    arms: tuple[Arm, ...]

    @property
    def name(self) -> str:
        """Folder name."""
        return f"seed{self.seed}-fold{self.fold}" + (f"-{self.objective}" if self.objective else "")


def run_benchmark(
    folder: Path,
    out: Path,
    settings: Settings,
    *,
    folds: int,
    seeds: int,
    preset: Preset | None,
    redo: bool,
) -> Path:
    """Do every unit that is not finished and write `benchmark.json` and its tables."""
    if folds < 2 or seeds < 1:
        raise InputError(f"Expected folds ≥ 2 and seeds ≥ 1, but got {folds} and {seeds}.")
    check_source(folder)
    arms = settings.arms or DEFAULT_ARMS
    split = settings.split.model_copy(update={"folds": folds, "repeats": seeds})
    shared = settings.model_copy(update={"split": split, "arms": ()})
    with runs.locked(out):
        base = runs.create(_made(out / "base"), folder, shared, preset)
        for name in ("index", "audit", "split"):
            base.perform(STAGES[name], redo=redo)
        splits = splits_of(base)
        dealt = repeated_folds(splits, seeds, settings.seed)
        units = list(units_of(arms, folds, seeds))
        for number, unit in enumerate(units, start=1):
            console.print(f"[bold]{number}/{len(units)} {unit.name}[/bold] {', '.join(unit.arms)}")
            parts = fold_splits(
                splits, dealt[unit.seed], unit.fold, split.val_fraction, settings.seed + unit.seed
            )
            _perform(_unit_run(base, out, unit), parts, unit, redo=redo)
            result = _evaluated(out, units[:number], shared)
            _show(result["arms"], f"{number} of {len(units)} units")
        _write(out, result, units, shared)
    return out / "benchmark.json"


def units_of(arms: tuple[Arm, ...], folds: int, seeds: int) -> Iterator[Unit]:
    """The units, seed by seed: arms without synthesis go with the first objective."""
    plain = tuple(arm for arm in arms if TREATMENTS[arm].objective is None)
    by_objective: dict[Objective | None, tuple[Arm, ...]] = {}
    for arm in arms:
        objective = TREATMENTS[arm].objective
        if objective:
            by_objective[objective] = (*by_objective.get(objective, ()), arm)
    first = next(iter(by_objective), None)
    by_objective[first] = (*plain, *by_objective.get(first, ()))
    for seed in range(seeds):
        for fold in range(folds):
            for objective, chosen in by_objective.items():
                yield Unit(seed, fold, objective, chosen)


def _unit_run(base: Run, out: Path, unit: Unit) -> Run:
    """The run folder of a unit, with the shared files in it."""
    settings = base.settings
    gan = settings.gan.model_copy(update={"objective": unit.objective or settings.gan.objective})
    chosen = settings.model_copy(
        update={"seed": settings.seed + unit.seed, "gan": gan, "arms": unit.arms}
    )
    folder = _made(out / unit.name)
    run = runs.create(folder, base.source, chosen, base.record["preset"])
    run.save()
    for name in SHARED:
        if not run.path(name).is_file():
            shutil.copyfile(base.path(name), run.path(name))
    return run


def _perform(run: Run, parts: Splits, unit: Unit, *, redo: bool) -> None:
    parts.write(run.path("splits.csv"))
    names = ["train-gan", "synthesize"] if unit.objective else []
    for name in [*names, "train", "predict"]:
        run.perform(STAGES[name], redo=redo)


def _evaluated(out: Path, done: list[Unit], settings: Settings) -> dict[str, Any]:
    """Evaluate the arms that are complete over the units done so far."""
    table = _predictions(out, done)
    seen = table.groupby("arm")["id"].apply(frozenset)
    complete = [arm for arm in seen.index if seen[arm] == frozenset(table["id"])]
    return evaluate_predictions(
        table[table["arm"].isin(complete)], settings.evaluation, seed=settings.seed,
        references=CHEAP,
    )  # fmt: skip


def _write(out: Path, result: dict[str, Any], units: list[Unit], settings: Settings) -> None:
    """Write `benchmark.json`, `benchmark.csv` and every prediction."""
    split = settings.split
    protocol = {
        "folds": split.folds, "seeds": split.repeats, "grouped": not split.leaky,
        "leaky": split.leaky, "ensembling": "none", "rows": result["n"],
        "groups": result["groups"], "settings": settings.model_dump(mode="json"),
        "environment": environment(),
    }  # fmt: skip
    command = f"sonobalance benchmark FOLDER --folds {split.folds} --seeds {split.repeats}"
    write_predictions(out / "predictions.csv", _predictions(out, units))
    write_json(out / "benchmark.json", {**result, "protocol": protocol, "command": command})
    write_text(out / "benchmark.csv", _csv(result["arms"]))


def _predictions(out: Path, units: list[Unit]) -> pd.DataFrame:
    return pd.concat([_test_rows(out, unit) for unit in units], ignore_index=True)


def _test_rows(out: Path, unit: Unit) -> pd.DataFrame:
    """TEST rows of a unit; an image counts once per seed, always in its own group."""
    rows = read_predictions(out / unit.name / "predictions.csv")
    rows = rows[rows["part"] == "test"].copy()
    rows["id"] += f" (seed {unit.seed})"
    return rows


def _show(arms: dict[str, dict[str, dict[str, float]]], title: str) -> None:
    table = Table("arm", *SHOWN, title=title)
    for arm, metrics in arms.items():
        table.add_row(arm, *(f"{metrics[name]['value']:.3f}" for name in SHOWN))
    console.print(table)


def _csv(arms: dict[str, dict[str, dict[str, float]]]) -> str:
    rows = [
        f"{arm},{name},{interval['value']},{interval['low']},{interval['high']}"
        for arm, metrics in arms.items()
        for name, interval in metrics.items()
    ]
    return "\n".join(["arm,metric,value,low,high", *rows]) + "\n"


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
