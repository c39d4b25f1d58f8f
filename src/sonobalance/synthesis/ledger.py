"""The durable record of the loop: one JSON file per finished round, and the tables made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from sonobalance.data.manifest import Manifest, Record
from sonobalance.errors import StaleError
from sonobalance.files import read_json, sha256_of, write_csv, write_json

ROUNDS, SELECTION, ROUND_TABLE, MANIFEST = "rounds", "selection.csv", "rounds.csv", "manifest.csv"
SAMPLE = "sample.json"  # beside the images of a sample: what was asked for, and what came
DIGITS = 6


@dataclass(frozen=True, slots=True)
class Candidate:
    """One generated image: a row of `selection.csv` (there, `label` is called `class`).

    Attributes:
        id: `r<round>-<class>-<index>`.
        round: number of the round, from 1.
        label: class that was asked for.
        seed, index: with them, the round's generator makes the image again.
        realism, class_probability, typicality, novelty, diversity: scores of the gates, in [0, 1].
        log_r1, log_r2: both discriminators' estimates of log p/q.
        nearest_id, nearest_distance: nearest TRAIN image; 1 - likeness, in [0, 1].
        parents: `id:share|...`, the TRAIN images whose latents were mixed, heaviest first.
        kept: whether the image was accepted.
        reason: why it was kept, or the first gate it failed.
    """

    id: str
    round: int
    label: str
    seed: int
    index: int
    realism: float
    class_probability: float
    typicality: float
    novelty: float
    diversity: float
    log_r1: float
    log_r2: float
    nearest_id: str
    nearest_distance: float
    parents: str
    kept: bool
    reason: str


@dataclass(frozen=True)
class RoundRecord:
    """A finished round.

    Attributes:
        number: 0 for the state before any synthesis.
        candidates: every image that was generated.
        row: the row of `rounds.csv`.
        predictions: (R, n) class of each real image by the inner validation.
        thresholds: gate → value, measured pass rate of real images and rule.
    """

    number: int
    candidates: tuple[Candidate, ...]
    row: dict[str, Any]
    predictions: list[list[int]]
    thresholds: dict[str, Any]

    @property
    def kept(self) -> tuple[Candidate, ...]:
        """The accepted candidates."""
        return tuple(c for c in self.candidates if c.kept)


def image_path(candidate: Candidate) -> str:
    """Where the image of a candidate lies, relative to the synthesis folder."""
    return f"images/{candidate.label}/{candidate.id}.png"


def save_round(folder: Path, record: RoundRecord, identity: str) -> None:
    """Write a finished round; from here on it is never done again."""
    write_json(folder / ROUNDS / f"{record.number}.json", {"identity": identity, **asdict(record)})


def load_rounds(folder: Path, identity: str) -> list[RoundRecord]:
    """The finished rounds, in order.

    Raises:
        StaleError: a round was made from other images, settings or another generator.
        InputError: a file is damaged.
    """
    records: list[RoundRecord] = []
    while (path := folder / ROUNDS / f"{len(records)}.json").is_file():
        document = read_json(path)
        if document.pop("identity", "") != identity:
            raise StaleError(
                f"Expected {path} to be a round of these images, settings and generator, but it "
                "was made from others; use another --out or remove that folder."
            )
        candidates = tuple(Candidate(**row) for row in document.pop("candidates"))
        records.append(RoundRecord(candidates=candidates, **document))
    return records


def write_tables(folder: Path, records: Sequence[RoundRecord]) -> None:
    """Write `selection.csv`, `rounds.csv` and `manifest.csv` anew from the finished rounds."""
    write_selection(folder, [c for r in records for c in r.candidates])
    columns = list(dict.fromkeys(key for r in records for key in r.row))
    write_csv(
        folder / ROUND_TABLE, columns, [[_cell(r.row.get(c, 0)) for c in columns] for r in records]
    )
    write_manifest(folder, [c for r in records for c in r.kept])


def write_selection(folder: Path, candidates: Sequence[Candidate]) -> None:
    """Write `selection.csv`: a row per candidate."""
    header = ["class" if f.name == "label" else f.name for f in fields(Candidate)]
    rows = [[_cell(v) for v in asdict(c).values()] for c in candidates]
    write_csv(folder / SELECTION, header, rows)


def write_manifest(folder: Path, kept: Sequence[Candidate]) -> None:
    """Write `manifest.csv`: the accepted images, whose files are there."""
    Manifest(tuple(_as_record(folder, c) for c in kept), folder).write(folder / MANIFEST)


def _as_record(folder: Path, candidate: Candidate) -> Record:
    path = image_path(candidate)
    with (folder / path).open("rb") as handle:
        head = handle.read(24)  # signature, IHDR length and name, width, height
    width, height = int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")
    return Record(
        candidate.id, path, candidate.label, source="synthesis", origin="synthetic",
        sha256=sha256_of(folder / path), width=width, height=height,
    )  # fmt: skip


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)
