"""The files of a run folder, read tolerantly: what is missing is empty, never an error."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sonobalance.artefacts import LARGE, large_path
from sonobalance.data.manifest import Manifest, Record, read_manifest
from sonobalance.files import read_json, read_lines, read_rows

Row = dict[str, str]


@dataclass(frozen=True)
class RunFiles:
    """Read access to one run folder.

    Attributes:
        folder: the run folder.
    """

    folder: Path

    def has(self, name: str) -> bool:
        """Whether the run wrote this file or folder."""
        return (self.folder / name).exists()

    def document(self, name: str) -> dict[str, Any]:
        """A JSON object; empty where the file is missing.

        Raises:
            InputError: the file is there but is not JSON.
        """
        value = read_json(self.folder / name) if self.has(name) else {}
        return value if isinstance(value, dict) else {}

    def rows(self, name: str) -> list[Row]:
        """The rows of a CSV file as text; none where the file is missing."""
        return read_rows(self.folder / name) if self.has(name) else []

    def log(self, name: str) -> list[dict[str, Any]]:
        """The rows of a JSON-lines log; none where the file is missing."""
        return read_lines(self.folder / name)

    @cached_property
    def record(self) -> dict[str, Any]:
        """`run.json`."""
        return self.document("run.json")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The resolved settings of the run."""
        return as_dict(self.record.get("settings"))

    @cached_property
    def splits(self) -> list[Row]:
        """`splits.csv`."""
        return self.rows("splits.csv")

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """`evaluation.json`."""
        return self.document("evaluation.json")

    @cached_property
    def audit(self) -> dict[str, Any]:
        """`audit.json`."""
        return self.document("audit.json")

    @cached_property
    def real(self) -> dict[str, tuple[Path, Record]]:
        """Real image id → file and record; the file may have moved away since."""
        root = Path(str(self.record.get("source") or self.folder))
        return self._images("manifest.csv", root if root.is_dir() else root.parent)

    @cached_property
    def synthetic(self) -> dict[str, tuple[Path, Record]]:
        """Accepted synthetic image id → file and record."""
        return self._images("synthesis/manifest.csv", self.folder / "synthesis")

    @cached_property
    def seen(self) -> dict[str, tuple[Path, Record]]:
        """The same as the classifier sees them: enlarged where the run did that."""
        if self.seen_px is None:
            return self.synthetic
        folder, drawn = self.folder / "synthesis", self.synthetic.items()
        return {key: (folder / large_path(record), record) for key, (_, record) in drawn}

    @property
    def seen_px(self) -> int | None:
        """Their side; None where they were not enlarged."""
        if not self.has(f"synthesis/{LARGE}"):
            return None
        return int(as_dict(self.settings.get("classifier"))["image_size_px"])

    @cached_property
    def classes(self) -> list[str]:
        """Class names in alphabetical order."""
        named = self.evaluation.get("classes")
        return list(named) if named else sorted({row["label"] for row in self.splits})

    @cached_property
    def part_counts(self) -> dict[tuple[str, str], int]:
        """(class, part) → images."""
        return Counter((row["label"], row["part"]) for row in self.splits)

    @cached_property
    def leaky(self) -> bool:
        """Whether the parts were dealt by image, so that relatives stand on both sides."""
        return bool(as_dict(self.settings.get("split")).get("leaky"))

    def ids_of(self, part: str, label: str) -> list[str]:
        """Image ids of one class in one part, in the order of `splits.csv`."""
        return [r["id"] for r in self.splits if r["part"] == part and r["label"] == label]

    def _images(self, name: str, root: Path) -> dict[str, tuple[Path, Record]]:
        if not self.has(name):
            return {}
        manifest: Manifest = read_manifest(self.folder / name, root)
        return {record.id: (manifest.file(record), record) for record in manifest}


def as_dict(value: Any) -> dict[str, Any]:
    """The value where it is a JSON object, an empty one otherwise."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The value where it is a JSON array, an empty one otherwise."""
    return value if isinstance(value, list) else []
