"""Tables for a paper: long CSV rows, LaTeX (booktabs), and a page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sonobalance.arms import TREATMENTS
from sonobalance.comparison import guarded
from sonobalance.reporting.formatting import (
    CLEAR,
    MINUS,
    lower_is_better,
    metric_name,
    number,
    signed,
)
from sonobalance.reporting.page import render_page
from sonobalance.reporting.score_figures import forest_figure

ESCAPED = {letter: f"\\{letter}" for letter in "&%_#${}"} | {
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "\\": r"\textbackslash{}",
}  # fmt: skip
PAIRED = ("arm", "against", "metric", "difference", "low", "high", "verdict")


def long_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per arm and metric."""
    return [
        {"arm": arm, "metric": name} | interval
        for arm, scores in document["arms"].items()
        for name, interval in scores.items()
    ]


def paired_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per arm, what it is held against, and metric; without the sentence."""
    return [
        {key: value for key, value in row.items() if key != "sentence"}
        for row in document["paired"]
    ]


def metrics_in(document: Mapping[str, Any]) -> list[str]:
    """The metrics, in order of display."""
    return list(next(iter(document["arms"].values())))


def best_values(document: Mapping[str, Any]) -> dict[str, float]:
    """Metric → the best value, which several arms may have; without metrics that none has."""
    out = {}
    for metric in metrics_in(document):
        values = [scores[metric]["value"] for scores in document["arms"].values()]
        known = [value for value in values if value is not None]
        if known:
            out[metric] = min(known) if lower_is_better(metric) else max(known)
    return out


def latex(document: Mapping[str, Any]) -> str:
    """Two booktabs tables: each arm, and each arm against another on the same images.

    Bold is the best value of a metric, and a difference whose interval leaves out zero.
    """
    paired = ["", _tex_paired(document)] if document["paired"] else []
    return "\n".join([
        "% needs \\usepackage{booktabs}", _tex_arms(document), *paired,
        f"% {document['command']}", "",
    ])  # fmt: skip


def _tex_arms(document: Mapping[str, Any]) -> str:
    metrics, best = metrics_in(document), best_values(document)
    rows = {
        arm: [_tex_score(scores[metric], best.get(metric)) for metric in metrics]
        for arm, scores in document["arms"].items()
    }
    return _tabular("Arm", metrics, rows)


def _tex_score(interval: Mapping[str, Any], best: float | None) -> str:
    value = interval["value"]
    return _tex_cell(interval, number(value), bold=value is not None and value == best)


def _tex_paired(document: Mapping[str, Any]) -> str:
    """Of two arms that were compared either way round, the first comparison only."""
    metrics = metrics_in(document)
    by_pair: dict[tuple[str, str], dict[str, str]] = {}
    for row in document["paired"]:
        if (row["against"], row["arm"]) not in by_pair:
            cell = _tex_cell(row, signed(row["difference"]), bold=row["verdict"] in CLEAR)
            by_pair.setdefault((row["arm"], row["against"]), {})[row["metric"]] = cell
    rows = {" against ".join(pair): [cells[m] for m in metrics] for pair, cells in by_pair.items()}
    return _tabular("Difference", metrics, rows)


def _tabular(first: str, metrics: Sequence[str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table of cells by the name of the row, one column per metric."""
    head = " & ".join([first, *(_tex(metric_name(metric)) for metric in metrics)])
    lines = [" & ".join([_tex(name), *cells]) + r" \\" for name, cells in rows.items()]
    return "\n".join([
        "\\begin{tabular}{l" + "r" * len(metrics) + "}", "\\toprule", head + r" \\", "\\midrule",
        *lines, "\\bottomrule", "\\end{tabular}",
    ])  # fmt: skip


def _tex_cell(interval: Mapping[str, Any], value: str, *, bold: bool) -> str:
    shown = rf"\textbf{{{value}}}" if bold else value
    if interval["low"] is not None:
        ends = f"{number(interval['low'])}, {number(interval['high'])}"
        shown += rf" {{\scriptsize [{ends}]}}"
    return shown.replace(MINUS, "$-$")


def _tex(text: str) -> str:
    return "".join(ESCAPED.get(letter, letter) for letter in text)


def html(document: Mapping[str, Any]) -> str:
    """The page `benchmark.html`."""
    metrics = metrics_in(document)
    return render_page(
        "benchmark.html.j2", package="comparison",
        document=document, metrics_in=metrics_in, best_values=best_values,
        sentences=sentences(),
        forest=forest_figure(
            [
                row | {"compared": f"{row['arm']} − {row['against']}"}
                for row in document["verdicts"]
            ]
        ),
        references=list(dict.fromkeys(row["against"] for row in document["paired"])),
        shown=("macro_f1", *[m for m in metrics if m.startswith("recall_")]),
        differences={(r["arm"], r["against"], r["metric"]): r for r in document["paired"]},
    )  # fmt: skip


def sentences() -> dict[str, str]:
    """What each arm is."""
    trained = {str(arm): what.sentence for arm, what in TREATMENTS.items()}
    return trained | {guarded.GUARDED: guarded.SENTENCE}
