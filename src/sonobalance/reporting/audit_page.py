"""`audit.html`: what is wrong with the data, with the pairs side by side, in one offline page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sonobalance.config import AuditSettings
from sonobalance.data.audit import Audit, Pair, write_tables
from sonobalance.data.audit.marks import KINDS
from sonobalance.data.images import read_gray
from sonobalance.data.manifest import Manifest, Record
from sonobalance.errors import InputError
from sonobalance.files import write_text
from sonobalance.reporting.page import render_page
from sonobalance.reporting.pictures import Picture, embed, fit

PAGE = "audit.html"
THUMBNAIL_PX = 200
SHOWN_PAIRS = 120
SHOWN_NEAR_MISSES = 12
SHOWN_MARKED = 18


def write_audit(audit: Audit, manifest: Manifest, settings: AuditSettings, folder: Path) -> None:
    """Write `audit.json`, `groups.csv`, `marks.csv` and `audit.html` into a folder.

    Args:
        audit: what was found.
        manifest: the images it was found in; some are opened again for their thumbnails.
        settings: what was looked for.
        folder: where the files go; made when absent.

    Raises:
        InputError: the folder cannot be written.
    """
    write_tables(audit, manifest, folder)
    write_text(folder / PAGE, render_audit(audit, manifest, settings))


def render_audit(audit: Audit, manifest: Manifest, settings: AuditSettings) -> str:
    """The page as HTML text; equal audits give equal text."""
    sought = {"duplicates": settings.near_duplicates, "marks": settings.marks}
    return render_page("audit.html.j2", sought=sought, **_values(audit, manifest))


def _values(audit: Audit, manifest: Manifest) -> dict[str, Any]:
    records = {r.id: r for r in manifest}
    conflicts = [p for p in (*audit.pairs, *audit.weaker) if p.conflict and _copied(audit, p)]
    return {
        "document": audit.as_json(),
        "classes": list(audit.images_per_class),
        "kinds": KINDS,
        "conflicts": [_side_by_side(p, records, manifest) for p in conflicts[:SHOWN_PAIRS]],
        "pairs": [_side_by_side(p, records, manifest) for p in _spread(audit.pairs, SHOWN_PAIRS)],
        "near_misses": [
            _side_by_side(p, records, manifest)
            for p in [p for p in audit.weaker if not _together(audit, p)][:SHOWN_NEAR_MISSES]
        ],
        "marked": [
            _thumbnail(
                records[key], manifest, ", ".join(sorted({m.kind for m in audit.marks[key]}))
            )
            for key in _spread(list(audit.marks), SHOWN_MARKED)
        ],
        "poor": [f for f in audit.findings if f.kind in ("broken", "constant", "tiny")],
        "shortcuts": [f for f in audit.findings if f.kind.endswith("shortcut")],
        "metadata": audit.metadata_guess,
        "mark_guess": audit.mark_table.guess,
    }


def _copied(audit: Audit, pair: Pair) -> bool:
    """Whether they are near-duplicates, if over others; images of one patient need not be."""
    return audit.copies[pair.a] == audit.copies[pair.b]


def _together(audit: Audit, pair: Pair) -> bool:
    return audit.groups[pair.a] == audit.groups[pair.b]


def _spread(items: Any, count: int) -> list[Any]:
    """At most `count` items, evenly spaced from first to last."""
    rows = list(items)
    if len(rows) <= count:
        return rows
    return [rows[round(i * (len(rows) - 1) / (count - 1))] for i in range(count)]


def _side_by_side(pair: Pair, records: dict[str, Record], manifest: Manifest) -> dict[str, Any]:
    return {
        "shots": [_thumbnail(records[key], manifest, key) for key in (pair.a, pair.b)],
        "pair": pair,
    }


def _thumbnail(record: Record, manifest: Manifest, caption: str) -> Picture:
    alt = f"Ultrasound image {record.id}, class {record.label or 'unknown'}"
    try:
        image = read_gray(manifest.file(record), record.frame)
    except InputError:
        return Picture("", THUMBNAIL_PX, THUMBNAIL_PX, f"{alt} (file not available)", caption)
    return embed(fit(image, THUMBNAIL_PX), alt, caption)
