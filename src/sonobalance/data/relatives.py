"""Who must stay together, and whose labels contradict each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from sonobalance.data.manifest import Manifest, Record
from sonobalance.errors import InputError


def content_key(record: Record) -> str:
    """The bytes and frame of an image; empty when no digest is known."""
    return f"{record.sha256}#{record.frame}" if record.sha256 else ""


def independent_groups(manifest: Manifest, group: Mapping[str, str]) -> dict[str, str]:
    """Image id → group such that near-duplicates, one patient and identical files share a group.

    The key of a group is the alphabetically first of the near-duplicate groups in it.
    """
    keys = [(f"g{group[r.id]}", r.patient and f"p{r.patient}", content_key(r)) for r in manifest]
    return _joined(manifest, group, keys)


def conflicting(
    manifest: Manifest, group: Mapping[str, str], copies: Mapping[str, str] | None = None
) -> set[str]:
    """Ids of the images whose near-duplicates or identical files carry another label.

    A patient with lesions of two classes is no conflict.

    Args:
        manifest: the images.
        group: image id → group of near-duplicates, which may hold a patient's other images, too.
        copies: image id → group of near-duplicates alone. Without them a group that holds one
            patient only counts when the bytes of two of its images are the same.
    """
    near = group if copies is None else copies
    keys = [(f"g{near[r.id]}", content_key(r)) for r in manifest]
    same = _joined(manifest, near, keys)
    families: dict[str, list[Record]] = defaultdict(list)
    for r in manifest:
        families[same[r.id]].append(r)
    found = (f for f in families.values() if len({r.label for r in f} - {""}) > 1)
    return {r.id for f in found if copies is not None or not _one_patient(f) for r in f}


def _one_patient(family: Sequence[Record]) -> bool:
    """Whether images of several labels are those of one patient, and none a copy of another."""
    patients = {r.patient for r in family}
    filed = {(content_key(r), r.label) for r in family if r.sha256 and r.label}
    copied = len(filed) > len({key for key, _ in filed})
    return not copied and len(patients) == 1 and patients != {""}


def relabelled(manifest: Manifest, path: Path) -> Manifest:
    """The manifest with the labels of a CSV (columns id, label) in place of its own.

    Raises:
        InputError: the file is missing or lacks a column, an id is unknown, or a label is no class.
    """
    label = {row[0]: row[1] for row in read_columns(path, ("id", "label"))}
    unknown = sorted(label.keys() - {r.id for r in manifest})
    if unknown:
        raise InputError(
            f"Expected the ids in {path} to be in the manifest, not so {unknown[0]!r}."
        )
    strange = sorted(set(label.values()) - set(manifest.classes))
    if strange:
        raise InputError(
            f"Expected the labels in {path} to be among {', '.join(manifest.classes)}, "
            f"but got {strange[0]!r}."
        )
    records = tuple(replace(r, label=label.get(r.id, r.label)) for r in manifest)
    return replace(manifest, records=records)


def in_subset(manifest: Manifest, path: Path) -> Manifest:
    """The images that the first column of a CSV names; see `by_name`.

    A list without a heading is understood: a heading that names an image is one of them.

    Raises:
        InputError: the file is missing or malformed, or names no image or several files.
    """
    table, found = read_csv(path), by_name(manifest)
    wanted = set(table.iloc[:, 0]) | ({table.columns[0]} & found.keys())
    unknown = sorted(wanted - found.keys())
    if unknown:
        raise InputError(
            f"Expected the first column of {path} to name images by id, path or file name, but "
            f"{len(unknown)} are unknown, first {unknown[0]!r}."
        )
    for name in sorted(wanted):
        if len(files := sorted({r.path for r in found[name]})) > 1:
            raise InputError(
                f"Expected the first column of {path} to name one file each, but {name!r} may be "
                f"{files[0]} or {files[1]}; give ids or paths."
            )
    return manifest.select(r.id for name in wanted for r in found[name])


def by_name(manifest: Manifest) -> dict[str, list[Record]]:
    """Name → the images that it means in a CSV: all frames of a clip, all images of an archive.

    A name is an id; else the id of a clip (its frames are `id#frame`); else a path; else a file
    name; else one without suffix. A file name may stand for several files.
    """
    found: dict[str, list[Record]] = {}
    for names in zip(*map(_names_of, manifest), strict=True):
        kind: dict[str, list[Record]] = defaultdict(list)
        for name, record in zip(names, manifest, strict=True):
            kind[name].append(record)
        found = kind | found
    return found


def _names_of(record: Record) -> tuple[str, ...]:
    """What an image may be called, the surest first."""
    clip, file = record.id.removesuffix(f"#{record.frame}"), PurePosixPath(record.path)
    return record.id, clip, record.path, file.name, file.stem


def read_columns(path: Path, columns: Sequence[str]) -> list[tuple[str, ...]]:
    """These columns of a CSV as text, row by row.

    Raises:
        InputError: the file is missing, is no CSV, or lacks a column.
    """
    table = read_csv(path)
    missing = [name for name in columns if name not in table]
    if missing:
        raise InputError(
            f"Expected {path} to have the column {missing[0]!r}, but it has "
            f"{', '.join(map(str, table.columns))}."
        )
    return list(table[list(columns)].itertuples(index=False, name=None))


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV as text; raises `InputError` when it is missing or malformed."""
    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(f"Expected a CSV at {path}, but there is none.") from None
    except (ValueError, OSError) as error:  # parser errors and bad UTF-8 are ValueErrors
        raise InputError(f"Expected a CSV at {path}, but {error}.") from None


def _joined(
    manifest: Manifest, group: Mapping[str, str], keys: Sequence[tuple[str, ...]]
) -> dict[str, str]:
    """Image id → name of its component in the graph of images that share a key."""
    number: dict[str, int] = {}
    pairs = [
        (i, number.setdefault(key, len(number))) for i, own in enumerate(keys) for key in own if key
    ]
    n = len(keys)
    if not n:
        return {}
    rows, columns = np.array(pairs).T
    links = coo_array((np.ones(len(rows), bool), (rows, columns + n)), shape=(n + len(number),) * 2)
    component = connected_components(links, directed=False)[1][:n]
    names: dict[int, str] = {}
    for r, c in zip(manifest, component, strict=True):
        names[c] = min(names.get(c, group[r.id]), group[r.id])
    return {r.id: names[c] for r, c in zip(manifest, component, strict=True)}
