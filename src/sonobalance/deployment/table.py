"""Rows of predictions as CSV or JSON lines, written as they come."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import IO, Literal

from sonobalance.deployment.batch import Row
from sonobalance.evaluation.predictions import PREFIX

Layout = Literal["csv", "jsonl"]


@dataclass
class Tally:
    """How many files were answered, refused and unreadable."""

    answered: int = 0
    refused: int = 0
    broken: int = 0
    trouble: str = ""

    def add(self, row: Row) -> None:
        """Count one row."""
        if row.answer is None:
            self.broken += 1
            self.trouble = self.trouble or str(row.as_json()["error"])
        elif row.answer.refused:
            self.refused += 1
        else:
            self.answered += 1

    def sentence(self) -> str:
        """The summary in words."""
        words = f"{self.answered} answered, {self.refused} refused as unlike the training images"
        if not self.broken:
            return f"{words}."
        return f"{words}, {self.broken} could not be read (see the column `error`)."


def write_rows(
    rows: Iterable[Row], classes: tuple[str, ...], out: IO[str], layout: Layout
) -> Tally:
    """Write each row as soon as it is known; returns the counts."""
    tally = Tally()
    table = csv.writer(out, lineterminator="\n") if layout == "csv" else None
    if table:
        table.writerow((*PLAIN, *(PREFIX + name for name in classes), "error"))
    for row in rows:
        if table:
            table.writerow(_cells(row, classes))
        else:
            out.write(json.dumps(row.as_json(), ensure_ascii=False) + "\n")
        tally.add(row)
    return tally


PLAIN = (
    "path", "frame", "width", "height", "predicted", "refused", "conformal", "called", "distance",
)  # fmt: skip


def _cells(row: Row, classes: tuple[str, ...]) -> list[object]:
    values = row.as_json()
    for name in ("conformal", "called"):
        values[name] = "|".join(values[name] or ())
    cells = [_cell(values[name]) for name in PLAIN]
    probabilities = values["probabilities"] or {}
    cells += [_cell(probabilities.get(name)) for name in classes]
    return [*cells, values["error"] or ""]


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else repr(value) if isinstance(value, float) else value
