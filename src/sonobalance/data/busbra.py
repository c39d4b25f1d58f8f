"""BUS-BRA as distributed: `bus_data.csv`, `Images/bus_0001-l.png`, `Masks/mask_0001-l.png`.

The patient is the column `Case`, the class `Pathology`. Sizes and boxes in the table are native
ones and are not used. Source: Gómez-Flores et al., Medical Physics 2024, doi:10.1002/mp.16812.
"""

from __future__ import annotations

from pathlib import Path

from sonobalance.data.candidates import Candidate, Found
from sonobalance.data.scan import exists
from sonobalance.data.tables import read_rows
from sonobalance.errors import InputError

TABLE = "bus_data.csv"
COLUMNS = frozenset(("ID", "Case", "Pathology"))


def is_busbra(folder: Path) -> bool:
    """Whether a folder is BUS-BRA."""
    return (folder / TABLE).is_file() and (folder / "Images").is_dir()


def read_busbra(folder: Path) -> Found:
    """List the images of BUS-BRA with class, patient and mask.

    Raises:
        InputError: the table is missing or lacks a column.
    """
    table = folder / TABLE
    rows = read_rows(table)
    if not rows or not set(rows[0]) >= COLUMNS:
        raise InputError(f"Expected the columns {', '.join(sorted(COLUMNS))} in {table}.")
    return Found("bus-bra", [_candidate(row, folder) for row in rows])


def _candidate(row: dict[str, str], folder: Path) -> Candidate:
    key = row["ID"]
    mask = f"Masks/mask_{key.removeprefix('bus_')}.png"
    masks = (mask,) if exists(folder / mask) else ()
    return Candidate(
        f"Images/{key}.png", row["Pathology"], row["Case"], masks, id=key,
        device=row.get("Device", ""),
    )  # fmt: skip
