"""How the arms are tested: which folds, which images, which other data set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonobalance.artefacts import copies_of, groups_of, manifest_of, splits_of
from sonobalance.comparison.units import Fold
from sonobalance.config import Settings, SplitSettings
from sonobalance.config.data import MOST_FOLDS
from sonobalance.data.folds import fold_splits, repeated_folds
from sonobalance.data.official import EXCLUDED, official_fold_names
from sonobalance.data.scarcity import scarcer
from sonobalance.data.split import Splits, make_splits
from sonobalance.errors import InputError
from sonobalance.files import sha256_of
from sonobalance.layers import with_paths
from sonobalance.runs import Run

LEAKY = (
    "Images of one patient and near-duplicates stand on both sides of this split: every number is "
    "too good. It is for comparison with papers that split this way."
)


@dataclass(frozen=True)
class Protocol:
    """What a benchmark is asked to do, besides its settings.

    Attributes:
        folds: of the cross-validation; published folds bring their own number.
        seeds: repetitions; each deals the folds anew (published ones stay) and trains anew.
        external: another data set that every model is tested on.
        scarce: share of a class's groups that stays in TRAIN.
        scarce_class: the class that is made scarcer.
    """

    folds: int = 5
    seeds: int = 1
    external: Path | None = None
    scarce: float = 1.0
    scarce_class: str = "malignant"

    def __post_init__(self) -> None:
        if not 2 <= self.folds <= MOST_FOLDS or self.seeds < 1:
            raise InputError(
                f"Expected 2 to {MOST_FOLDS} folds and at least 1 seed, but got {self.folds} and "
                f"{self.seeds}."
            )
        if not 0 < self.scarce <= 1:
            raise InputError(f"Expected scarce in (0, 1], but got {self.scarce}.")


def folds_of(base: Run, protocol: Protocol) -> list[Fold]:
    """Every fold of every seed, in order, with its parts.

    Raises:
        InputError: a class has too few groups, or a CSV of the settings is unusable.
    """
    seed = base.settings.seed
    return [
        Fold(number, i, _cut(splits, protocol, seed + number))
        for number in range(protocol.seeds)
        for i, splits in enumerate(_dealt(base, protocol, number))
    ]


def _cut(splits: Splits, protocol: Protocol, seed: int) -> Splits:
    if protocol.scarce == 1:
        return splits
    return scarcer(splits, protocol.scarce_class, protocol.scarce, seed)


def _dealt(base: Run, protocol: Protocol, number: int) -> Iterator[Splits]:
    settings, seed = base.settings.split, base.settings.seed
    splits = splits_of(base)
    if settings.official_csv and settings.official_part_column:
        yield splits
    elif settings.official_csv:
        manifest = manifest_of(base)
        used = splits.manifest.select(k for k, part in splits.part.items() if part != EXCLUDED)
        for name in official_fold_names(used, settings):
            chosen = settings.model_copy(update={"official_test_fold": name})
            yield make_splits(manifest, groups_of(base), chosen, seed, copies_of(base))
    else:
        folds = repeated_folds(splits, protocol.seeds, seed)[number]
        for i in range(protocol.folds):
            yield fold_splits(splits, folds, i, settings.val_fraction, seed + number)


def kind_of(settings: SplitSettings) -> str:
    """The protocol's name."""
    if settings.leaky:
        return "leaky random split"
    return "official folds" if settings.official_csv else "grouped folds"


def describe(base: Run, protocol: Protocol, folds: list[Fold]) -> dict[str, Any]:
    """`protocol` of `benchmark.json`: what was done, on what, with which settings."""
    settings = base.settings
    split = settings.split
    parts = [fold.splits.counts() for fold in folds]
    sizes = {
        part: float(np.mean([sum(count[part].values()) for count in parts]))
        for part in ("train", "val", "test")
    }
    return {
        "name": kind_of(split),
        "data": base.source.name,
        "folds": len(folds) // protocol.seeds,
        "seeds": protocol.seeds,
        "grouped": not split.leaky,
        "leaky": split.leaky,
        **({"warning": LEAKY} if split.leaky else {}),
        "subset": _named(split.subset_csv),
        "official": _named(split.official_csv),
        "scarce": (
            {"class": protocol.scarce_class, "share": protocol.scarce}
            if protocol.scarce < 1
            else None
        ),
        "ensembling": "external.ensemble alone" if protocol.external else "none",
        "images_per_fold": {part: round(size, 1) for part, size in sizes.items()},
        "train_by_class": _mean_counts([count["train"] for count in parts]),
        "test_to_train": sizes["test"] / sizes["train"],
        "settings": portable(settings),
    }


def _mean_counts(counts: list[dict[str, int]]) -> dict[str, float]:
    return {name: round(float(np.mean([c[name] for c in counts])), 1) for name in counts[0]}


def _named(path: Path | None) -> dict[str, str] | None:
    return {"file": path.name, "sha256": sha256_of(path)} if path else None


def portable(settings: Settings) -> dict[str, Any]:
    """The settings as JSON, with the names of files in place of this machine's paths."""
    named: dict[str, Any] = with_paths(settings.model_dump(), lambda path: path.name)
    return named
