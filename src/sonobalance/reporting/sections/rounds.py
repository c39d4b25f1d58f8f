"""The rounds of synthesis as tables: what was asked, made, rejected by each gate, and added."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sonobalance.reporting.artefacts import Row, as_dict, as_list
from sonobalance.reporting.formatting import finite

GATES = ("realism", "class", "typicality", "novelty", "diversity", "surplus")


def round_rows(rows: Sequence[Row], classes: Sequence[str]) -> list[dict[str, Any]]:
    """One row per round: sums over the classes, what it did to each recall, the same per class."""
    return [
        {
            "recalls": [_recall(row, rows[max(i - 1, 0)], label) for label in classes],
            "round": row.get("round"),
            "sums": _sums(row, classes),
            "total": row.get("total"),
            "macro_f1": row.get("macro_f1"),
            "acceptance": row.get("acceptance"),
            "classes": [
                _of_class(row, label) for label in classes if finite(row.get(f"made_{label}"))
            ],
        }
        for i, row in enumerate(rows)
    ]


def _recall(row: Row, before: Row, label: str) -> dict[str, Any]:
    """Recall of a class inside TRAIN, and its change against the round before."""
    value, old = finite(row.get(f"recall_{label}")), finite(before.get(f"recall_{label}"))
    if value is None or old is None or row is before:
        return {"value": value, "change": None}
    return {"value": value, "change": value - old}


def _of_class(row: Row, label: str) -> dict[str, Any]:
    columns = ("asked", "made", *(f"rejected_{gate}" for gate in GATES), "added", "total")
    values = {name: finite(row.get(f"{name}_{label}")) for name in columns}
    shares = {name: finite(row.get(f"{name}_{label}")) for name in ("twins", "coverage", "recall")}
    return {"label": label, **values, **shares}


def _sums(row: Row, classes: Sequence[str]) -> dict[str, float]:
    names = ("asked", "made", *(f"rejected_{gate}" for gate in GATES), "added")
    return {
        name: sum(finite(row.get(f"{name}_{label}")) or 0.0 for label in classes) for name in names
    }


def balance_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Per class: real TRAIN images, the number asked for, and real plus accepted ones."""
    before, after = as_dict(document.get("before")), as_dict(document.get("after"))
    targets = as_dict(document.get("targets"))
    return [
        {
            "label": label,
            "real": real,
            "target": targets.get(label),
            "added": (finite(after.get(label)) or 0) - (finite(real) or 0),
            "after": after.get(label),
        }
        for label, real in before.items()
    ]


def fidelity_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Per class: synthetic against real TRAIN images, each score beside real against real."""
    return [as_dict(row) for row in as_list(document.get("fidelity"))]


def threshold_rows(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Per gate: where it closes, the share of real images that passes, and how it was set."""
    thresholds = as_dict(document.get("thresholds"))
    return [
        {"gate": name.replace("_", " "), **as_dict(value)} for name, value in thresholds.items()
    ]
