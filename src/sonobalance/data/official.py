"""Published parts and folds: used as they are, except that a group is never torn apart.

BUS-BRA's fold files work unchanged: columns ID, kFold (test fold from 1) and valid_k (1 TRAIN,
0 VAL, NaN TEST while fold k is tested). Their VAL marks single images, so that two images of a
patient may stand on both sides; such a group is dealt as a whole to one of the parts in which it
stands officially, in such a way that the official class counts are kept best. With `leaky` the
parts stay exactly as published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np

from sonobalance.config import SplitSettings
from sonobalance.data.dealing import deal, deal_images, tabulate
from sonobalance.data.manifest import Manifest
from sonobalance.data.relatives import by_name, read_columns, read_csv
from sonobalance.errors import InputError
from sonobalance.randomness import numpy_generator

Part = Literal["train", "val", "test", "excluded"]
PARTS: tuple[Part, ...] = ("train", "val", "test")
EXCLUDED: Part = "excluded"
P = TypeVar("P", bound=str)
PART_NAMES: dict[str, Part] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
VAL_NAMES: dict[str, Part] = {"0": "val", "1": "train"}


def official_parts(
    manifest: Manifest, group: Mapping[str, str], settings: SplitSettings, seed: int
) -> dict[str, Part]:
    """Image id → part, from the part column.

    Raises:
        InputError: the file is unusable, an image is missing in it, or a value is no part.
    """
    read = _column(manifest, settings, settings.official_part_column)
    official = [_named(value, PART_NAMES, settings) for value in read]
    return _checked(manifest, kept_whole(manifest, group, official, seed), settings)


def official_folds(
    manifest: Manifest, group: Mapping[str, str], settings: SplitSettings, seed: int
) -> tuple[dict[str, Part], dict[str, int]]:
    """Image id → part, and image id → fold from 0.

    TEST is one fold, VAL the column that belongs to it; without such a column VAL is dealt from
    the images outside TEST.

    Raises:
        InputError: the file is unusable, or an image is missing in it.
    """
    read = _column(manifest, settings, settings.official_fold_column)
    names = _in_order(read)
    tested = settings.official_test_fold or (names or [""])[0]
    if len(names) < 2 or tested not in names:
        raise InputError(
            f"Expected several folds, among them {tested!r}, in column "
            f"{settings.official_fold_column!r} of {settings.official_csv}, but got {names}."
        )
    fold = kept_whole(manifest, group, read, seed)
    rest = manifest.select(key for key, name in fold.items() if name != tested)
    parts: dict[str, Part] = dict.fromkeys(manifest.ids, "test")
    parts |= _validation(rest, group, settings, tested, seed)
    return (
        _checked(manifest, parts, settings),
        {key: names.index(name) for key, name in fold.items()},
    )


def official_fold_names(manifest: Manifest, settings: SplitSettings) -> list[str]:
    """The published folds in order, each of which can be `official_test_fold`.

    Raises:
        InputError: the file is unusable, or an image is missing in it.
    """
    return _in_order(_column(manifest, settings, settings.official_fold_column))


def _in_order(names: Sequence[str]) -> list[str]:
    return sorted(set(names), key=lambda name: (len(name), name))


def _validation(
    manifest: Manifest, group: Mapping[str, str], settings: SplitSettings, fold: str, seed: int
) -> dict[str, Part]:
    """Image id → `train` or `val` for the images outside the tested fold."""
    column = settings.official_val_column.replace("{fold}", fold)
    if column in _header(settings):
        read = _column(manifest, settings, column)
        # An image moved here out of the tested fold by its relatives has no official value.
        official = [_named("1" if value == "NaN" else value, VAL_NAMES, settings) for value in read]
        return kept_whole(manifest, group, official, seed)
    shares = np.array([1 - settings.val_fraction, settings.val_fraction])
    labels, keys = [r.label for r in manifest], [group[r.id] for r in manifest]
    dealt = deal_images(labels, keys, shares, numpy_generator(seed, "parts"))
    return {r.id: PARTS[p] for r, p in zip(manifest, dealt, strict=True)}


def _checked(
    manifest: Manifest, parts: dict[str, Part], settings: SplitSettings
) -> dict[str, Part]:
    """The parts, if every class stands in each of them."""
    present = {(parts[r.id], r.label) for r in manifest}
    for part in PARTS:
        for label in manifest.classes:
            if (part, label) not in present:
                raise InputError(
                    f"Expected class {label!r} in every part of {settings.official_csv}, "
                    f"but {part} has none."
                )
    return parts


def kept_whole(
    manifest: Manifest, group: Mapping[str, str], official: Sequence[P], seed: int
) -> dict[str, P]:
    """Move each group that stands in several official parts as a whole to one of them."""
    counts, row, classes = tabulate([r.label for r in manifest], [group[r.id] for r in manifest])
    names = sorted(set(official))
    part = np.array([names.index(name) for name in official])
    allowed = np.zeros((len(counts), len(names)), bool)
    allowed[row, part] = True
    targets = np.zeros((len(names), len(classes)))
    column = np.array([classes.index(r.label) for r in manifest])
    np.add.at(targets, (part, column), 1)
    dealt = deal(counts, targets, numpy_generator(seed, "official"), allowed)
    return {r.id: names[dealt[i]] for r, i in zip(manifest, row, strict=True)}


def _column(manifest: Manifest, settings: SplitSettings, column: str) -> list[str]:
    """The value of a column for each image, whose own id goes before its other names."""
    path = _path(settings)
    rows = read_columns(path, (settings.official_id_column, column))
    value = {row[0]: row[1] for row in rows}
    found = {
        r.id: value[name]
        for name, images in by_name(manifest).items()
        if name in value and len({r.path for r in images}) == 1
        for r in images
    }
    found |= {key: value[key] for key in manifest.ids if key in value}
    missing = [key for key in manifest.ids if key not in found]
    if missing:
        raise InputError(
            f"Expected every image in column {settings.official_id_column!r} of {path} by id, path "
            f"or unique file name, but {len(missing)} are missing there, first {missing[0]!r}."
        )
    return [found[key].strip() for key in manifest.ids]


def _header(settings: SplitSettings) -> list[str]:
    return read_csv(_path(settings)).columns.tolist()


def _path(settings: SplitSettings) -> Path:
    if settings.official_csv is None:
        raise InputError("Expected `split.official_csv` to name a CSV, but it is not set.")
    return settings.official_csv


def _named(value: str, names: Mapping[str, Part], settings: SplitSettings) -> Part:
    if value.lower() not in names:
        raise InputError(
            f"Expected one of {', '.join(names)} in {settings.official_csv}, but got {value!r}."
        )
    return names[value.lower()]
