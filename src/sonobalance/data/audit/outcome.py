"""The result of an audit and its form as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sonobalance.data.audit.duplicates import Pair
from sonobalance.data.audit.findings import Finding
from sonobalance.data.audit.marks import Mark
from sonobalance.data.audit.quality import Quality
from sonobalance.data.audit.shortcuts import Guess
from sonobalance.data.manifest import Manifest
from sonobalance.files import write_csv, write_json

GROUP_COLUMNS = ("id", "path", "group", "copies")
MARK_COLUMNS = ("id", "path", "kind", "x", "y", "width", "height")


@dataclass(frozen=True)
class MarkTable:
    """Marks against classes.

    Attributes:
        images: class → kind → images that carry such a mark.
        information_bits: kind → mutual information of its presence and the class, bits.
        guess: how well the class is guessed from the kinds present; None for tiny sets.
    """

    images: Mapping[str, Mapping[str, int]]
    information_bits: Mapping[str, float]
    guess: Guess | None


@dataclass(frozen=True)
class Sensitivity:
    """What another threshold would have found: groups, and images in groups of several."""

    threshold: float
    pairs: int
    groups: int
    images_in_groups: int


@dataclass(frozen=True)
class Audit:
    """Everything an audit found.

    Attributes:
        findings: the problems, worst first.
        groups: image id → group name (patient ∪ near-duplicates), every image once.
        pairs: near-duplicate pairs that join groups, surest first.
        weaker: pairs with some evidence that join nothing, surest first.
        marks: image id → burnt-in marks; images without any are absent.
        mark_table: marks against classes.
        quality: image id → size, brightness, borders.
        metadata_guess: how well the class is guessed from `quality` and the scanner; None for
            tiny sets.
        images_per_class: class → images.
        groups_per_class: class → groups that hold an image of it (independent images).
        imbalance: images of the largest over images of the smallest class.
        sensitivity: the group count at other thresholds.
        unreadable: id → reason, images that could not be opened.
        skipped: (path, reason) of the files left out earlier.
    """

    findings: tuple[Finding, ...]
    groups: Mapping[str, str]
    copies: Mapping[str, str]
    pairs: tuple[Pair, ...]
    weaker: tuple[Pair, ...]
    marks: Mapping[str, tuple[Mark, ...]]
    mark_table: MarkTable
    quality: Mapping[str, Quality]
    metadata_guess: Guess | None
    images_per_class: Mapping[str, int]
    groups_per_class: Mapping[str, int]
    imbalance: float
    sensitivity: tuple[Sensitivity, ...]
    unreadable: Mapping[str, str]
    skipped: tuple[tuple[str, str], ...]

    def as_json(self) -> dict[str, Any]:
        """The document `audit.json`."""
        sizes: dict[str, int] = {}
        for group in self.groups.values():
            sizes[group] = sizes.get(group, 0) + 1
        return {
            "findings": [finding.as_json() for finding in self.findings],
            "summary": {
                "images": len(self.groups),
                "groups": len(sizes),
                "images_in_groups": sum(n for n in sizes.values() if n > 1),
                "largest_group": max(sizes.values(), default=0),
                "pairs": len(self.pairs),
                "label_conflicts": sum(f.kind == "label-conflict" for f in self.findings),
                "images_per_class": dict(self.images_per_class),
                "groups_per_class": dict(self.groups_per_class),
                "imbalance": round(self.imbalance, 4),
            },
            "shortcuts": shortcut_lines(self.metadata_guess, self.mark_table),
            "marks": {
                "images": {name: dict(kinds) for name, kinds in self.mark_table.images.items()},
                "information_bits": {
                    kind: round(bits, 4) for kind, bits in self.mark_table.information_bits.items()
                },
            },
            "sensitivity": [
                {
                    "threshold": s.threshold,
                    "pairs": s.pairs,
                    "groups": s.groups,
                    "images_in_groups": s.images_in_groups,
                }
                for s in self.sensitivity
            ],
            "pairs": [pair.as_json() for pair in self.pairs],
            "skipped": [{"path": path, "reason": why} for path, why in self.skipped],
        }


def shortcut_lines(metadata: Guess | None, table: MarkTable) -> dict[str, float]:
    """The flat block `shortcuts` of `audit.json`: accuracies beside chance, bits."""
    lines: dict[str, float] = {}
    for name, guess in (("metadata", metadata), ("marks", table.guess)):
        if guess is not None:
            lines |= {
                f"{name}_accuracy": round(guess.accuracy, 4),
                f"{name}_chance": round(guess.chance, 4),
                f"{name}_balanced_accuracy": round(guess.balanced_accuracy, 4),
                f"{name}_balanced_chance": round(guess.balanced_chance, 4),
            }
    if "any combination" in table.information_bits:
        lines["marks_information_bits"] = round(table.information_bits["any combination"], 4)
    return lines


def write_tables(audit: Audit, manifest: Manifest, folder: Path) -> None:
    """Write `audit.json`, `groups.csv` and `marks.csv` into a folder; each is whole or absent."""
    write_json(folder / "audit.json", audit.as_json())
    write_csv(
        folder / "groups.csv", GROUP_COLUMNS,
        [(r.id, r.path, audit.groups[r.id], audit.copies[r.id]) for r in manifest],
    )  # fmt: skip
    write_csv(
        folder / "marks.csv", MARK_COLUMNS,
        [
            (r.id, r.path, m.kind, m.x, m.y, m.width, m.height)
            for r in manifest for m in audit.marks.get(r.id, ())
        ],
    )  # fmt: skip
