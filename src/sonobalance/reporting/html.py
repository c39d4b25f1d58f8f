"""`report.html`: one page, made from the files of a run folder and from nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sonobalance.files import write_text
from sonobalance.reporting.artefacts import RunFiles
from sonobalance.reporting.page import render_page
from sonobalance.reporting.section import Section
from sonobalance.reporting.sections.data import data
from sonobalance.reporting.sections.explanations import explanations
from sonobalance.reporting.sections.record import record
from sonobalance.reporting.sections.results import results
from sonobalance.reporting.sections.synthesis import synthesis
from sonobalance.reporting.sections.verdict import verdict

PAGE = "report.html"


def build_report(run: Path) -> Path:
    """Write `report.html` into a run folder: one self-contained page that needs no network.

    Only files of the run folder are read (and the images its manifests name). Every file may be
    missing: its chapter then says so. Equal files give equal bytes.

    Args:
        run: the run folder.

    Returns:
        The path of the page.

    Raises:
        InputError: a file is there but malformed, or the page cannot be written.
    """
    page = run / PAGE
    write_text(page, render(RunFiles(run)))
    return page


def render(run: RunFiles) -> str:
    """The whole page as HTML text."""
    makers = (verdict, data, synthesis, results, explanations, record)
    chapters = [make(run) for make in makers]
    return render_page("template.html.j2", **_frame(run, chapters))


def _frame(run: RunFiles, chapters: list[Section]) -> dict[str, Any]:
    return {
        "name": run.record.get("name") or run.folder.resolve().name,
        "created": str(run.record.get("created") or ""),
        "finished": str(run.record.get("finished") or ""),
        "preset": run.record.get("preset") or "",
        "leaky": run.leaky,
        "chapters": chapters,
        "recorded": bool(run.record),
        "missing": {name for c in chapters for name in c.sources if not run.has(name)},
    }
