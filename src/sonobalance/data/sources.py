"""A folder, table or archive to a manifest: which reader fits, and whether the set is usable."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

from sonobalance.config import DataSettings
from sonobalance.data import dicom, medmnist, tables
from sonobalance.data.busbra import is_busbra, read_busbra
from sonobalance.data.busuclm import is_busuclm, read_busuclm
from sonobalance.data.candidates import Found, Skipped
from sonobalance.data.folders import read_class_folders
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.scan import exists, subfolders, visible
from sonobalance.data.verify import verify
from sonobalance.errors import InputError
from sonobalance.progress import console

__all__ = ["LEAST_PER_CLASS", "Skipped", "index_folder"]

LONGEST_LABEL = 100
TABLES = frozenset(("csv", "parquet"))  # layouts
LEAST_PER_CLASS = 3  # independent images: one each for TRAIN, VAL and TEST


def index_folder(folder: Path, settings: DataSettings) -> tuple[Manifest, list[Skipped]]:
    """List the usable images of a source, and the files that were left out and why.

    The order is that of the paths, and the same source gives the same manifest. Each file is
    opened once: what cannot be decoded, is too large or too small is left out, not fatal. Paths
    are relative to the folder, or to the parent of a table or archive.

    Args:
        folder: class folders, a BUSI, BUS-BRA or BUS-UCLM tree, a folder with an index table, or
            a CSV, TSV, Parquet or MedMNIST ``.npz`` file.
        settings: layout, columns and limits.

    Raises:
        InputError: the source is missing or not readable as a set; it has no image, only one
            class, or a class with fewer than `LEAST_PER_CLASS` independent usable images
            (patients, where known).
    """
    if not exists(folder):
        raise InputError(f"Expected a folder of images at {folder}, but there is none.")
    root = folder if folder.is_dir() else folder.parent
    found = _composed(read_source(folder, settings))
    records, skipped = verify(found, root, settings)
    named = [*(_withheld(one, root) for one in found.skipped), *skipped]
    told = [replace(one, reason=one.reason.replace(f"{root}/", "")) for one in named]
    left_out = sorted(told, key=lambda s: (s.path, s.kind, s.reason))
    _check(folder, found, records, left_out)
    _check_patients(records, settings)
    return Manifest(tuple(sorted(records, key=lambda r: (r.path, r.frame))), root), left_out


def _composed(found: Found) -> Found:
    """Letters with accents as one character (NFC): one name is one class and one patient."""
    nfc = partial(unicodedata.normalize, "NFC")
    candidates = [replace(c, label=nfc(c.label), patient=nfc(c.patient)) for c in found.candidates]
    return replace(found, candidates=candidates, classes=tuple(map(nfc, found.classes)))


def _withheld(one: Skipped, root: Path) -> Skipped:
    """The same without a path that names the patient of a DICOM file that no reader opened."""
    path = root / one.path
    if not exists(path) or not dicom.is_dicom(path):
        return one
    try:
        named = dicom.names_patient(one.path, dicom.read_tags(path))
    except InputError:
        named = True  # nobody can tell
    return replace(one, path="(withheld)") if named else one


def read_source(source: Path, settings: DataSettings) -> Found:
    """List what a source seems to hold; no image is opened, but masks that alone tell a class are.

    Raises:
        InputError: it is not readable as a set.
    """
    layout = layout_of(source, settings)
    if layout == "bus-bra":
        return read_busbra(source)
    if layout == "bus-uclm":
        return read_busuclm(source)
    if layout == "medmnist":
        return medmnist.read_medmnist(archive_of(source))
    if layout in TABLES:
        return tables.read_table(table_of(source, settings), settings)
    return read_class_folders(source, settings)


def layout_of(source: Path, settings: DataSettings) -> str:
    """How a source is read: as the settings say, or as its files look.

    Raises:
        InputError: it is a file of another kind, or several tables could be the index.
    """
    if source.is_file():
        return _layout_of_file(source)
    return _detect(source, settings) if settings.layout == "auto" else settings.layout


def _detect(folder: Path, settings: DataSettings) -> str:
    """A published set, then an index table, an archive, class folders."""
    if is_busbra(folder):
        return "bus-bra"
    if is_busuclm(folder):
        return "bus-uclm"
    if tables.find_table(folder, settings) is not None:
        return "csv"
    return "medmnist" if _archives(folder) and not subfolders(folder) else "folders"


def _layout_of_file(path: Path) -> str:
    if path.suffix.lower() in tables.SUFFIXES:
        return "csv"
    if medmnist.is_archive(path):
        return "medmnist"
    raise InputError(
        f"Expected a folder of images, an index table or an .npz archive, but {path} is "
        "another kind of file; give the folder it lies in."
    )


def table_of(folder: Path, settings: DataSettings) -> Path:
    """The index table of a source of a layout in `TABLES`: the one in the folder, or the source.

    Raises:
        InputError: there is none, or there are several.
    """
    if folder.is_file():
        return folder
    table = tables.find_table(folder, settings)
    if table is None:
        raise InputError(
            f"Expected a CSV or Parquet file in {folder} with the columns {settings.path_column} "
            f"and {settings.label_column}, but there is none; "
            "name its columns by `data.path_column` and `data.label_column`."
        )
    return table


def _archives(folder: Path) -> list[Path]:
    return [path for path in visible(folder) if medmnist.is_archive(path)]


def archive_of(folder: Path) -> Path:
    """The archive of a source of the layout `medmnist`: the one in the folder, or the source.

    Raises:
        InputError: there is none, or there are several.
    """
    if folder.is_file():
        return folder
    archives = _archives(folder)
    if len(archives) != 1:
        raise InputError(
            f"Expected one .npz archive in {folder}, but there are {len(archives)}; "
            "give the path of the one that is meant."
        )
    return archives[0]


def _check(folder: Path, found: Found, records: list[Record], left_out: list[Skipped]) -> None:
    if not found.candidates:
        raise InputError(f"Expected images in {folder}, but there are none.{_example(left_out)}")
    if not records:
        raise InputError(
            f"Expected usable images in {folder}, but none of {len(found.candidates)} is."
            f"{_example(left_out)}"
        )
    check_class_names({c.label for c in found.candidates}, f" in {folder}")
    counts = independent(records)
    for name in sorted({c.label for c in found.candidates} | set(found.classes)):
        if counts[name] < LEAST_PER_CLASS:
            have = counts[name] or "none"
            raise InputError(
                f"Expected at least {LEAST_PER_CLASS} independent usable images of the class "
                f"{name!r} in {folder}, but got {have}; add images or leave the class out."
                f"{_example(left_out)}"
            )
    if len(counts) < 2:
        raise InputError(
            f"Expected at least two classes in {folder}, but all images are {next(iter(counts))!r};"
            " add a folder per class."
        )


def _check_patients(records: list[Record], settings: DataSettings) -> None:
    """A pattern that finds no patient would let patients cross parts without a word."""
    if not settings.patient_pattern:
        return
    alone = [r.path for r in records if not r.patient]
    if len(alone) == len(records):
        raise InputError(
            f"Expected data.patient_pattern {settings.patient_pattern!r} to match the paths of "
            f"images, but it matches none, such as {alone[0]!r}; mind the quotes of the shell."
        )
    if alone:
        console.print(
            f"  data.patient_pattern finds no patient in {len(alone)} of {len(records)} "
            f"images, such as {alone[0]!r}; each counts as a patient of its own."
        )


def check_class_names(names: set[str], where: str = "") -> None:
    """See that classes can be folders beside each other.

    Raises:
        InputError: one cannot name a folder, or two differ by upper and lower case alone.
    """
    for name in sorted(names):
        if not tables.is_safe(name) or re.search(r"[/\\]", name) or len(name) > LONGEST_LABEL:
            raise InputError(
                f"Expected class names that can name a folder{where}, but got {name!r}; "
                f"use at most {LONGEST_LABEL} characters without slashes."
            )
    spellings = Counter(name.casefold() for name in names)
    if same := [
        sorted(n for n in names if n.casefold() == k) for k, c in spellings.items() if c > 1
    ]:
        raise InputError(
            f"Expected classes that differ by more than upper and lower case{where}, "
            f"but got {' and '.join(map(repr, same[0]))}; spell them alike."
        )


def independent(records: list[Record]) -> Counter[str]:
    """Patients per class, where an image without a patient counts as one."""
    owners: defaultdict[str, set[str]] = defaultdict(set)
    for record in records:
        owners[record.label].add(record.patient or record.id)
    return Counter({label: len(keys) for label, keys in owners.items()})


def _example(left_out: list[Skipped]) -> str:
    if not left_out:
        return ""
    first = left_out[0]
    return f" ({len(left_out)} left out, such as {first.path}: {first.reason})"
