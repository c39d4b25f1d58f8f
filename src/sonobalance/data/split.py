"""Leakage-free parts: groups are dealt whole, and every use of a part checks it again."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from sonobalance.config import SplitSettings
from sonobalance.data.manifest import Manifest, Record
from sonobalance.errors import InputError, LeakError
from sonobalance.files import write_text

Part = Literal["train", "val", "test", "excluded"]
COLUMNS = ("id", "path", "label", "group", "part", "fold")


@dataclass(frozen=True)
class Splits:
    """Which image is in which part; constructing one proves that no group crosses parts.

    Attributes:
        manifest: every image.
        part: image id → part.
        group: image id → group (patient ∪ near-duplicates).
        fold: image id → test fold of the cross-validation, -1 for excluded images.
        leaky: True for the deliberate image-level random split, whose groups do cross.

    Raises:
        LeakError: a group crosses parts, one file is in two parts, or a synthetic image is in
            VAL or TEST (promises P1 and P2).
        InputError: an image of the manifest has no part.
    """

    manifest: Manifest
    part: Mapping[str, Part]
    group: Mapping[str, str]
    fold: Mapping[str, int]
    leaky: bool = False

    def __post_init__(self) -> None:
        missing = [r.id for r in self.manifest if r.id not in self.part or r.id not in self.group]
        if missing:
            raise InputError(f"Expected every image to have a part and a group, not so {missing[0]!r}.")
        if not self.leaky:
            check_no_leak(self.manifest, self.part, self.group)
        check_no_synthetic(r for r in self.manifest if self.part[r.id] in ("val", "test"))

    def of(self, part: Part) -> Manifest:
        """The images of one part."""
        return self.manifest.select(key for key, value in self.part.items() if value == part)

    def write(self, path: Path) -> None:
        """Write `splits.csv`: id, path, label, group, part, fold."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for r in self.manifest:
            row = (r.id, r.path, r.label, self.group[r.id], self.part[r.id], self.fold[r.id])
            writer.writerow(row)
        write_text(path, text.getvalue())


def check_no_leak(
    manifest: Manifest, part: Mapping[str, Part], group: Mapping[str, str]
) -> None:
    """Raise `LeakError` when a group, a patient or a file's bytes stand in two parts."""
    keys = {
        "group": lambda r: group[r.id],
        "patient": lambda r: r.patient,
        "file content": lambda r: r.sha256 and f"{r.sha256}#{r.frame}",
    }
    for kind, key in keys.items():
        seen: dict[str, Record] = {}
        for r in manifest:
            value = key(r)
            if not value or part[r.id] == "excluded":
                continue
            first = seen.setdefault(value, r)
            if part[first.id] != part[r.id]:
                raise LeakError(
                    f"Expected each {kind} in one part only, but {first.id!r} is in "
                    f"{part[first.id]} and {r.id!r} in {part[r.id]} ({kind} {value})."
                )


def check_no_synthetic(records: Iterable[Record]) -> None:
    """Raise `LeakError` when a synthetic image is among the records (promise P2)."""
    for r in records:
        if r.origin == "synthetic":
            raise LeakError(f"Expected real images only in VAL and TEST, but {r.id!r} is synthetic.")


def read_splits(path: Path, manifest: Manifest, *, leaky: bool = False) -> Splits:
    """Read and check `splits.csv`.

    Raises:
        InputError: the file is missing, lacks a column, or names an unknown part.
        LeakError: see `Splits`.
    """
    if not path.is_file():
        raise InputError(f"Expected splits at {path}, but there are none; run `split` first.")
    with path.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    if rows and set(COLUMNS) - set(rows[0]):
        raise InputError(f"Expected {path} to have the columns {', '.join(COLUMNS)}.")
    part: dict[str, Part] = {row["id"]: _part(row["part"], path) for row in rows}
    group = {row["id"]: row["group"] for row in rows}
    fold = {row["id"]: int(row["fold"]) for row in rows}
    return Splits(manifest, part, group, fold, leaky)


def _part(name: str, path: Path) -> Part:
    if name == "train" or name == "val" or name == "test" or name == "excluded":  # noqa: PLR1714
        return name
    raise InputError(f"Expected a part of train, val, test or excluded in {path}, but got {name!r}.")


def make_splits(
    manifest: Manifest, group: Mapping[str, str], settings: SplitSettings, seed: int
) -> Splits:
    """Deal groups to TRAIN, VAL, TEST and to folds, stratified by class.

    Each group is dealt as a whole to the part that is furthest below its share for the group's
    classes, largest groups first within a seeded shuffle.

    Raises:
        InputError: a class has too few independent groups to stand in every part.
    """
    raise NotImplementedError


def grouped_folds(labels: list[str], groups: list[str], folds: int, seed: int) -> np.ndarray:
    """Fold index (n,) int of each image: stratified by label, groups kept whole."""
    raise NotImplementedError
