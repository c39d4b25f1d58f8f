"""BUS-UCLM as distributed: `images/ABCD_000.png`, `masks/ABCD_000.png`, `INFO.csv`.

A mask is colour-coded: green is a benign lesion, red a malignant one, black is no lesion. The
patient is the part of the name before the last `_`. The class is the table's; where it has none,
the mask's colour tells (malignant when both occur, normal when none does).
Source: Vallez et al., "BUS-UCLM", Scientific Data 2025, doi:10.1038/s41597-025-04562-3.
"""

from __future__ import annotations

from pathlib import Path

from sonobalance.data.candidates import Candidate, Found, Skipped
from sonobalance.data.images import read_color
from sonobalance.data.scan import is_image, relative, visible
from sonobalance.data.tables import read_rows
from sonobalance.errors import InputError

TABLE = "info.csv"
IMAGE_COLUMNS = ("image", "image name", "image_name", "filename", "file", "name", "id")
LABEL_COLUMNS = ("label", "class", "pathology", "diagnosis", "type")
PATIENT_COLUMNS = ("patient", "patient id", "patient_id", "case")
LABELS = frozenset(("benign", "malignant", "normal"))
LEAST = 128  # of a colour channel that codes a class


def is_busuclm(folder: Path) -> bool:
    """Whether a folder is BUS-UCLM."""
    return {TABLE, "images", "masks"} <= set(_entries(folder))


def read_busuclm(folder: Path) -> Found:
    """List the images of BUS-UCLM with class, patient and mask.

    Raises:
        InputError: `images`, `masks` or `INFO.csv` is missing.
    """
    entries = _checked(folder)
    info = {_stem(row, IMAGE_COLUMNS): row for row in _lower(read_rows(entries[TABLE]))}
    masks = {path.stem: path for path in visible(entries["masks"]) if is_image(path)}
    candidates, skipped = [], []
    for path in image_files(folder):
        name, mask, row = relative(path, folder), masks.get(path.stem), info.get(path.stem, {})
        try:
            label = _value(row, LABEL_COLUMNS).lower() or _label_of(mask)
        except InputError as error:
            skipped.append(Skipped(name, str(error), "mask"))
            continue
        if label not in LABELS:
            skipped.append(Skipped(name, "Neither table nor mask tells its class.", "unlabelled"))
            continue
        patient = _value(row, PATIENT_COLUMNS) or path.stem.rpartition("_")[0]
        lesions = (relative(mask, folder),) if mask else ()
        candidates.append(Candidate(name, label, patient, lesions, id=path.stem))
    return Found("bus-uclm", candidates, skipped)


def image_files(folder: Path) -> list[Path]:
    """The images of BUS-UCLM in order; raises as `read_busuclm`."""
    return [path for path in visible(_checked(folder)["images"]) if is_image(path)]


def _label_of(mask: Path | None) -> str:
    if mask is None:
        return ""
    red, green, _ = (read_color(mask) >= LEAST).transpose(2, 0, 1)
    if (red & ~green).any():
        return "malignant"
    return "benign" if (green & ~red).any() else "normal"


def _checked(folder: Path) -> dict[str, Path]:
    entries = _entries(folder)
    lacking = sorted({TABLE, "images", "masks"} - set(entries))
    if lacking:
        raise InputError(f"Expected BUS-UCLM in {folder}, but there is no {lacking[0]}.")
    return entries


def _entries(folder: Path) -> dict[str, Path]:
    return {path.name.lower(): path for path in visible(folder)}


def _lower(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{key.lower(): value for key, value in row.items()} for row in rows]


def _value(row: dict[str, str], columns: tuple[str, ...]) -> str:
    return next((row[column] for column in columns if row.get(column)), "")


def _stem(row: dict[str, str], columns: tuple[str, ...]) -> str:
    return Path(_value(row, columns).replace("\\", "/")).stem
