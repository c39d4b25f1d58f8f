"""Leakage-free parts: groups are dealt whole, and every use of a part checks it again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sonobalance.config import SplitSettings
from sonobalance.data.dealing import deal_images, grouped_folds
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.official import EXCLUDED, PARTS, Part, official_folds, official_parts
from sonobalance.data.relatives import (
    conflicting,
    content_key,
    in_subset,
    independent_groups,
    read_columns,
    relabelled,
)
from sonobalance.errors import InputError, LeakError
from sonobalance.files import write_csv
from sonobalance.randomness import numpy_generator

__all__ = ["Part", "Splits", "grouped_folds", "make_splits", "read_splits"]
COLUMNS = ("id", "path", "label", "group", "part", "fold")


@dataclass(frozen=True)
class Splits:
    """Which image is in which part; constructing one proves that no group crosses parts.

    Attributes:
        manifest: every image.
        part: image id → part.
        group: image id → group of relatives (near-duplicates ∪ patient ∪ identical files).
        fold: image id → test fold of the cross-validation; -1 for images that no fold tests.
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
        for r in self.manifest:
            if not (r.id in self.part and r.id in self.group and r.id in self.fold):
                raise InputError(
                    f"Expected every image to have a part, a group and a fold, not so {r.id!r}."
                )
        if not self.leaky:
            used = [r for r in self.manifest if self.part[r.id] != EXCLUDED]
            check_no_leak(used, self.part, self.group)
            check_no_leak(used, self.fold, self.group)
        check_no_synthetic(r for r in self.manifest if self.part[r.id] in ("val", "test"))

    def of(self, part: Part) -> Manifest:
        """The images of one part."""
        return self.manifest.select(key for key, value in self.part.items() if value == part)

    def counts(self) -> dict[str, dict[str, int]]:
        """Images of each class in each part."""
        counted = Counter((self.part[r.id], r.label) for r in self.manifest)
        return {
            part: {name: counted[part, name] for name in self.manifest.classes}
            for part in (*PARTS, EXCLUDED)
        }

    def write(self, path: Path) -> None:
        """Write `splits.csv`: id, path, label, group, part, fold."""
        write_csv(path, COLUMNS, [
            (r.id, r.path, r.label, self.group[r.id], self.part[r.id], self.fold[r.id])
            for r in self.manifest
        ])  # fmt: skip


def check_no_leak(
    records: Iterable[Record], place: Mapping[str, object], group: Mapping[str, str]
) -> None:
    """Raise `LeakError` when a group, a patient or a file's bytes stand in two places.

    Args:
        records: the images in use; excluded ones are not looked at.
        place: image id → part or fold.
        group: image id → group.
    """
    seen: dict[tuple[str, str], Record] = {}
    for r in records:
        keys = {"group": group[r.id], "patient": r.patient, "file content": content_key(r)}
        for kind, key in keys.items():
            first = seen.setdefault((kind, key), r)
            if key and place[first.id] != place[r.id]:
                raise LeakError(
                    f"Expected each {kind} in one part or fold only, but {first.id!r} is in "
                    f"{place[first.id]} and {r.id!r} in {place[r.id]} ({kind} {key})."
                )


def check_no_synthetic(records: Iterable[Record]) -> None:
    """Raise `LeakError` when a synthetic image is among the records (promise P2)."""
    for r in records:
        if r.origin == "synthetic":
            raise LeakError(
                f"Expected real images only in VAL and TEST, but {r.id!r} is synthetic."
            )


def read_splits(path: Path, manifest: Manifest, *, leaky: bool = False) -> Splits:
    """Read and check `splits.csv`; labels corrected there replace those of the manifest.

    Raises:
        InputError: the file is missing, lacks a column, names an unknown part or image, or an
            image of the manifest is missing in it.
        LeakError: see `Splits`.
    """
    if not path.is_file():
        raise InputError(f"Expected splits at {path}, but there are none; run `split` first.")
    rows = read_columns(path, COLUMNS)
    known = {r.id: r for r in manifest}
    part: dict[str, Part] = {}
    fold: dict[str, int] = {}
    for key, file, _, _, name, number in rows:
        if key in part or key not in known or known[key].path != file:
            raise InputError(
                f"Expected each image of the manifest once in {path}, but got {key!r} ({file})."
            )
        part[key] = _part(name, path)
        fold[key] = _fold(number, path)
    label = {row[0]: row[2] for row in rows}
    records = tuple(replace(r, label=label.get(r.id, r.label)) for r in manifest)
    group = {row[0]: row[3] for row in rows}
    return Splits(replace(manifest, records=records), part, group, fold, leaky)


def _part(name: str, path: Path) -> Part:
    for part in (*PARTS, EXCLUDED):
        if name == part:
            return part
    raise InputError(
        f"Expected a part of train, val, test or excluded in {path}, but got {name!r}."
    )


def _fold(text: str, path: Path) -> int:
    try:
        return int(text)
    except ValueError:
        raise InputError(f"Expected a whole number as fold in {path}, but got {text!r}.") from None


def make_splits(
    manifest: Manifest,
    group: Mapping[str, str],
    settings: SplitSettings,
    seed: int,
    copies: Mapping[str, str] | None = None,
) -> Splits:
    """Deal images to TRAIN, VAL, TEST and to folds: stratified by class, relatives kept together.

    Relatives are near-duplicates, images of one patient, and identical files. Images without a
    label are excluded. Near-duplicates under different labels are excluded (`drop`), or stand in
    TRAIN with all their relatives and in no test fold (`keep`), or take the labels of a CSV and
    are excluded where these do not settle it (`relabel`). Images outside the subset of the settings
    are excluded; they still tie together the relatives they stand between. `leaky` uses every
    labelled image, as papers that split that way do. Published parts or folds are used when
    the settings name a CSV; see `data.official`.

    Args:
        manifest: real images.
        group: image id → group of near-duplicates.
        settings: shares, folds and what to do about conflicts.
        seed: the same seed gives the same parts.
        copies: the same without images that only show the same patient; see `conflicting`.

    Raises:
        InputError: a class has too few independent groups to stand in every part and fold, an
            image is synthetic or has no group, or a CSV of the settings is unusable.
    """
    _check_input(manifest, group)
    if settings.labels_csv:
        manifest = relabelled(manifest, settings.labels_csv)
    used = in_subset(manifest, settings.subset_csv) if settings.subset_csv else manifest
    whole = independent_groups(manifest, group)
    conflicts = set() if settings.leaky else conflicting(used, group, copies)
    kept = {whole[key] for key in conflicts} if settings.label_conflicts == "keep" else set()
    part: dict[str, Part] = dict.fromkeys(manifest.ids, "excluded")
    part |= {r.id: "train" for r in used if r.label and whole[r.id] in kept}
    dealt = used.select(
        r.id for r in used if r.label and part[r.id] == "excluded" and r.id not in conflicts
    )
    _check_classes(used, dealt, manifest, settings)
    together = {r.id: r.id if settings.leaky else whole[r.id] for r in dealt}
    parts, folds = _dealt(dealt, together, settings, seed)
    fold = dict.fromkeys(manifest.ids, -1) | folds
    return Splits(manifest, part | parts, whole, fold, settings.leaky)


def _dealt(
    manifest: Manifest, group: Mapping[str, str], settings: SplitSettings, seed: int
) -> tuple[dict[str, Part], dict[str, int]]:
    """Part and fold of each image, random or official."""
    labels, keys = [r.label for r in manifest], [group[r.id] for r in manifest]
    if settings.official_csv and not settings.official_part_column:
        return official_folds(manifest, group, settings, seed)
    if settings.official_csv:
        parts = official_parts(manifest, group, settings, seed)
    else:
        shares = np.array([0, settings.val_fraction, settings.test_fraction])
        shares[0] = 1 - shares.sum()
        dealt = deal_images(labels, keys, shares, numpy_generator(seed, "parts"))
        parts = {r.id: PARTS[p] for r, p in zip(manifest, dealt, strict=True)}
    folds = grouped_folds(labels, keys, settings.folds, seed)
    return parts, {r.id: int(f) for r, f in zip(manifest, folds, strict=True)}


def _check_input(manifest: Manifest, group: Mapping[str, str]) -> None:
    for r in manifest:
        if r.id not in group:
            raise InputError(f"Expected a group for every image, but {r.id!r} has none.")
        if r.origin != "real":
            raise InputError(f"Expected real images only to be split, but {r.id!r} is synthetic.")


def _check_classes(
    used: Manifest, dealt: Manifest, manifest: Manifest, settings: SplitSettings
) -> None:
    if absent := sorted(set(manifest.classes) - set(used.classes)):
        raise InputError(
            f"Expected {settings.subset_csv} to name images of every class, but it names none of "
            f"{absent[0]!r}; to leave a class out, give an index CSV or a folder without it."
        )
    if len(manifest.classes) < 2:
        raise InputError(
            f"Expected images of at least two classes, but got {list(manifest.classes)}."
        )
    lost = sorted(set(manifest.classes) - set(dealt.classes))
    if lost:
        raise InputError(
            f"Expected usable images of class {lost[0]!r}, but each of its images has a "
            "near-duplicate under another label; see `split.label_conflicts`."
        )
