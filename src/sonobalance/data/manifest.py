"""The manifest: one row per image, the only list of images that any stage works from."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from sonobalance.errors import InputError
from sonobalance.files import write_csv

Origin = Literal["real", "synthetic"]
ORIGINS: dict[str, Origin] = {"real": "real", "synthetic": "synthetic"}
MASK_SEPARATOR = "|"


@dataclass(frozen=True, slots=True)
class Record:
    """One image.

    Attributes:
        id: unique and stable; the relative path without its suffix unless the source has its own.
        path: POSIX path relative to the manifest's root.
        label: class name; empty where unknown.
        patient: pseudonymous patient key; empty where the source has none.
        masks: lesion masks, POSIX paths relative to the root; their union is the lesion.
        frame: index inside a multi-frame file, 0 otherwise.
        source: name of the reader that found the image (``busi``, ``folders``, ``csv``, ...).
        sha256: hex digest of the file's bytes.
        width, height: native size in pixels.
        origin: ``real`` or ``synthetic``.
        mm_per_px: physical size of a pixel in mm; 0 where unknown.
        device: scanner by maker and model; empty where unknown.
        masks_sha256: hex digest over names and bytes of the masks; empty without masks.
    """

    id: str
    path: str
    label: str
    patient: str = ""
    masks: tuple[str, ...] = ()
    frame: int = 0
    source: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0
    origin: Origin = "real"
    mm_per_px: float = 0.0
    device: str = ""
    masks_sha256: str = ""

    def as_row(self) -> list[object]:
        """The cells of a table with the columns `COLUMNS`."""
        values = {name: getattr(self, name) for name in COLUMNS}
        return [*(values | {"masks": MASK_SEPARATOR.join(self.masks)}).values()]


COLUMNS = tuple(field.name for field in fields(Record))
OPTIONAL = frozenset(("device", "masks_sha256"))  # manifests written before are still read


@dataclass(frozen=True)
class Manifest:
    """An ordered, immutable list of records and the folder their paths start from.

    Raises:
        InputError: two records share an id.
    """

    records: tuple[Record, ...]
    root: Path

    def __post_init__(self) -> None:
        repeated = [key for key, n in Counter(r.id for r in self.records).items() if n > 1]
        if repeated:
            raise InputError(
                f"Expected every id in the manifest to be unique, but {repeated[0]!r} occurs twice."
            )

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id, in order."""
        return tuple(r.id for r in self.records)

    @property
    def classes(self) -> tuple[str, ...]:
        """The class names in alphabetical order; index in this tuple = integer target."""
        return tuple(sorted({r.label for r in self.records if r.label}))

    @property
    def counts(self) -> dict[str, int]:
        """Images per class, in the order of `classes`."""
        counted = Counter(r.label for r in self.records)
        return {name: counted[name] for name in self.classes}

    def file(self, record: Record) -> Path:
        """The image file of a record."""
        return self.root / record.path

    def mask_files(self, record: Record) -> list[Path]:
        """The lesion-mask files of a record (possibly none)."""
        return [self.root / mask for mask in record.masks]

    def select(self, ids: Iterable[str]) -> Manifest:
        """The records with these ids, in the manifest's order."""
        wanted = set(ids)
        return replace(self, records=tuple(r for r in self.records if r.id in wanted))

    def write(self, path: Path) -> None:
        """Write the manifest as CSV; the same records give the same bytes."""
        write_csv(path, COLUMNS, [r.as_row() for r in self.records])


def read_manifest(path: Path, root: Path) -> Manifest:
    """Read a manifest written by `Manifest.write`.

    Raises:
        InputError: the file is missing, lacks a column, or a row is damaged.
    """
    if not path.is_file():
        raise InputError(f"Expected a manifest at {path}, but there is none; run `index` first.")
    with path.open(newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        try:
            missing = set(COLUMNS) - OPTIONAL - set(reader.fieldnames or ())
            if missing:
                raise InputError(f"Expected {path} to have the columns {sorted(missing)}.")
            return Manifest(tuple(_record(row) for row in reader), root)
        except (ValueError, TypeError, AttributeError, KeyError, csv.Error):
            raise InputError(
                f"Expected {path} as `index` wrote it, but line {reader.line_num} is damaged."
            ) from None


def _record(row: dict[str, str]) -> Record:
    masks = tuple(part for part in row["masks"].split(MASK_SEPARATOR) if part)
    origin = ORIGINS[row["origin"]]
    return Record(
        id=row["id"], path=row["path"], label=row["label"], patient=row["patient"], masks=masks,
        frame=int(row["frame"]), source=row["source"], sha256=row["sha256"],
        width=int(row["width"]), height=int(row["height"]), origin=origin,
        mm_per_px=float(row["mm_per_px"]), device=row.get("device") or "",
        masks_sha256=row.get("masks_sha256") or "",
    )  # fmt: skip
