"""The files of a finished benchmark: JSON, every prediction, and tables ready for a paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sonobalance.artefacts import advised_against, collapsed
from sonobalance.comparison import tables
from sonobalance.comparison.pooling import prediction_rows
from sonobalance.comparison.units import Unit
from sonobalance.comparison.verdict import verdicts
from sonobalance.files import write_json, write_text
from sonobalance.runs import open_run

BENCHMARK = "benchmark.json"


def write_outcome(
    out: Path, document: dict[str, Any], units: Sequence[Unit], external: str | None = None
) -> Path:
    """Write everything and return the path of `benchmark.json`.

    Args:
        out: folder of the benchmark.
        document: arms, paired differences, protocol, command.
        units: all finished.
        external: name of the predictions of an external set in the units' folders.
    """
    document["verdicts"] = verdicts(document)
    write_text(out / "predictions.csv", _csv(prediction_rows(units)))
    if external:
        write_text(out / "external.csv", _csv(prediction_rows(units, external)))
    write_text(out / "benchmark.csv", _csv(pd.DataFrame(tables.long_rows(document))))
    write_text(out / "benchmark-paired.csv", _csv(_paired(document)))
    write_text(out / "benchmark.tex", tables.latex(document))
    write_text(out / "benchmark.html", tables.html(document))
    write_json(out / BENCHMARK, document)
    return out / BENCHMARK


def collapses(units: Sequence[Unit]) -> list[str]:
    """Titles of the GANs that ended without a usable generator."""
    return [u.title for u in units if u.arm is None and collapsed(open_run(u.folder))]


def refusals(units: Sequence[Unit]) -> list[str]:
    """Titles of the GANs whose images the loop itself advised against."""
    return [u.title for u in units if u.arm is None and advised_against(open_run(u.folder))]


def environments(units: Sequence[Unit]) -> list[dict[str, Any]]:
    """The different machines that finished the units' stages, as `environment.environment` does."""
    stages = (s for unit in units for s in open_run(unit.folder).record["stages"].values())
    found = [stage["environment"] for stage in stages if "environment" in stage]
    return [value for i, value in enumerate(found) if value not in found[:i]]


def _paired(document: dict[str, Any]) -> pd.DataFrame:
    """The paired differences; of a single arm the names of the columns alone."""
    rows = tables.paired_rows(document)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=tables.PAIRED)


def _csv(table: pd.DataFrame) -> str:
    return str(table.to_csv(index=False, lineterminator="\n"))
