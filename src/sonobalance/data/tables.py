"""Index tables: CSV and Parquet files with a row per image, columns named in the settings.

Paths are relative to the table; they may lead elsewhere (`../images/a.png`) or be absolute.
Several masks of one image are separated by `|` or `;`, or are a list in Parquet; where there is no
mask column, `masks` is one, as `export` writes it.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from sonobalance.config import DataSettings
from sonobalance.data.candidates import Candidate, Found, Skipped
from sonobalance.data.folders import patient_of
from sonobalance.data.manifest import MASK_SEPARATOR
from sonobalance.data.scan import (
    exists,
    files_below,
    is_image,
    printable,
    relative,
    storable,
    visible,
)
from sonobalance.errors import InputError

SUFFIXES = frozenset((".csv", ".tsv", ".parquet"))
DELIMITERS = ",;\t"
MASKS = "masks"  # the column of manifests and exported sets
Row = dict[str, str]


def read_table(table: Path, settings: DataSettings) -> Found:
    """List the images of an index table; image files beside it that it does not name are skipped.

    Raises:
        InputError: the table cannot be read or lacks the path or the label column.
    """
    candidates, skipped = _listed(table, settings)
    skipped += _unlisted(table.parent, candidates, skipped)
    source = "parquet" if table.suffix.lower() == ".parquet" else "csv"
    return Found(source, list(candidates.values()), skipped)


def files_named(table: Path, settings: DataSettings) -> list[str]:
    """Paths of the images and masks of an index table, relative to its folder.

    Raises:
        InputError: as `read_table`.
    """
    candidates, _ = _listed(table, settings)
    return [name for c in candidates.values() for name in (c.path, *c.masks)]


def _listed(table: Path, settings: DataSettings) -> tuple[dict[str, Candidate], list[Skipped]]:
    """Path → image of each usable row, and the other rows."""
    rows = read_rows(table)
    needed = (settings.path_column, settings.label_column)
    missing = [name for name in needed if rows and name not in rows[0]]
    if missing or not rows:
        have = ", ".join(rows[0]) if rows else "no rows"
        raise InputError(
            f"Expected the columns {' and '.join(needed)} in {table}, but it has {have}; "
            "name its columns by `data.path_column` and `data.label_column`."
        )
    root = table.parent
    skipped: list[Skipped] = []
    candidates: dict[str, Candidate] = {}
    for row in rows:
        candidate = _candidate(row, root, settings)
        if (left_out := _unusable(candidate, candidates)) is not None:
            skipped.append(left_out)
        else:
            candidates[candidate.path] = candidate
    return candidates, skipped


def find_table(folder: Path, settings: DataSettings) -> Path | None:
    """The one table in a folder that has the path and label columns.

    Raises:
        InputError: several tables qualify.
    """
    needed = {settings.path_column, settings.label_column}
    tables = [p for p in visible(folder) if p.suffix.lower() in SUFFIXES and p.is_file()]
    fitting = [table for table in tables if needed <= set(_columns(table))]
    if len(fitting) > 1:
        names = ", ".join(table.name for table in fitting)
        raise InputError(
            f"Expected one index table in {folder}, but {names} all have the columns "
            f"{' and '.join(sorted(needed))}; give the path of the one that is meant."
        )
    return fitting[0] if fitting else None


def read_rows(table: Path) -> list[Row]:
    """The rows of a CSV (comma, semicolon or tab; UTF-8 or Latin-1) or Parquet file, as text.

    Raises:
        InputError: the file is missing or is not a table.
    """
    try:
        if table.suffix.lower() == ".parquet":
            return _parquet_rows(table)
        raw = table.read_bytes()
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        header = text.partition("\n")[0]
        delimiter = max(DELIMITERS, key=header.count)
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        return [{(k or "").strip(): str(v or "").strip() for k, v in row.items()} for row in rows]
    except (OSError, csv.Error) as error:
        raise InputError(f"Expected a table at {table}, but {error}; export it again.") from None


def _parquet_rows(table: Path) -> list[Row]:
    try:
        from pyarrow import ArrowException, parquet  # noqa: PLC0415 - an extra
    except ImportError:
        raise InputError(
            f"Expected pyarrow to read {table}, but it is not installed; "
            "install sonobalance[parquet] or give the index as CSV."
        ) from None
    try:
        rows = parquet.read_table(table).to_pylist()
    except (ArrowException, ValueError) as error:
        raise InputError(f"Expected a Parquet file at {table}, but {error}.") from None
    return [{name: _text(value) for name, value in row.items()} for row in rows]


def _text(value: object) -> str:
    if isinstance(value, list):
        return MASK_SEPARATOR.join(map(_text, value))
    return "" if value is None else str(value).strip()


def _columns(table: Path) -> list[str]:
    try:
        rows = read_rows(table)
    except InputError:
        return []  # `auto` passes over tables that are no index
    return list(rows[0]) if rows else []


def _candidate(row: Row, root: Path, settings: DataSettings) -> Candidate:
    path = _resolved(row.get(settings.path_column, ""), root)
    masks = re.split(r"[|;]", row.get(settings.mask_column, row.get(MASKS, "")))
    return Candidate(
        path=path,
        label=row.get(settings.label_column, ""),
        patient=row.get(settings.patient_column, "") or patient_of(path, settings),
        masks=tuple(_resolved(mask, root) for mask in masks if mask.strip()),
        id=row.get(settings.id_column, ""),
        device=row.get(settings.device_column, ""),
    )


def _resolved(path: str, root: Path) -> str:
    """A path as the manifest stores it; Windows separators are accepted."""
    given = path.strip()
    if not exists(root / given):
        given = given.replace("\\", "/")
    return relative(root / given, root) if given else ""


def _unusable(candidate: Candidate, known: dict[str, Candidate]) -> Skipped | None:
    path = printable(candidate.path)
    if not candidate.path:
        return Skipped(path, "Its row in the index has no path.", "missing")
    if not storable(Path(candidate.path)):
        return Skipped(path, "Its name has characters that no list can hold.", "name")
    if not is_safe(candidate.id):
        return Skipped(path, "Its id in the index cannot be the name of a file.", "name")
    if not candidate.label:
        return Skipped(path, "Its row in the index has no class.", "unlabelled")
    if candidate.path in known:
        return Skipped(path, "The index names it twice; its first row is used.", "repeated")
    return None


def is_safe(key: str) -> bool:
    """Whether an id or class name can name files: printable, and never leading out of a folder."""
    return key.isprintable() and not key.startswith("/") and ".." not in re.split(r"[/\\]", key)


def _unlisted(root: Path, known: dict[str, Candidate], skipped: list[Skipped]) -> list[Skipped]:
    listed = set(known) | {mask for c in known.values() for mask in c.masks}
    listed |= {s.path for s in skipped}
    names = (relative(path, root) for path in files_below(root) if is_image(path))
    reason = "It is not in the index."
    return [Skipped(printable(name), reason, "unlisted") for name in names if name not in listed]
