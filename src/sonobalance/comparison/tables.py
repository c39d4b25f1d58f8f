"""Tables for a paper: long CSV rows, LaTeX (booktabs), and a page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sonobalance.arms import TREATMENTS
from sonobalance.comparison import guarded
from sonobalance.reporting.formatting import filters, lower_is_better, metric_name, number
from sonobalance.reporting.score_figures import forest_figure
from sonobalance.reporting.style import stylesheet

ESCAPED = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$"}


def long_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row per arm and metric."""
    return [
        {"arm": arm, "metric": name} | interval
        for arm, scores in document["arms"].items()
        for name, interval in scores.items()
    ]


def metrics_in(document: Mapping[str, Any]) -> list[str]:
    """The metrics, in order of display."""
    return list(next(iter(document["arms"].values())))


def best_values(document: Mapping[str, Any]) -> dict[str, str]:
    """Metric → the arm with the best value."""
    arms, out = document["arms"], {}
    for metric in metrics_in(document):
        known = {a: s[metric]["value"] for a, s in arms.items() if s[metric]["value"] is not None}
        choose = min if lower_is_better(metric) else max
        if known:
            out[metric] = choose(known, key=lambda arm: known[arm])
    return out


def latex(document: Mapping[str, Any]) -> str:
    """A booktabs table: value and interval, the best value of each metric in bold."""
    metrics, best = metrics_in(document), best_values(document)
    head = " & ".join(_tex(metric_name(metric)) for metric in metrics)
    lines = [
        "% needs \\usepackage{booktabs}",
        "\\begin{tabular}{l" + "r" * len(metrics) + "}",
        "\\toprule",
        f"Arm & {head} \\\\",
        "\\midrule",
    ]
    for arm, scores in document["arms"].items():
        cells = [_tex_cell(scores[metric], best.get(metric) == arm) for metric in metrics]
        lines.append(" & ".join([_tex(arm), *cells]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", f"% {document['command']}", ""])


def _tex_cell(interval: Mapping[str, Any], best: bool) -> str:
    value = number(interval["value"])
    shown = rf"\textbf{{{value}}}" if best else value
    if interval["low"] is None:
        return shown
    return rf"{shown} {{\scriptsize [{number(interval['low'])}, {number(interval['high'])}]}}"


def _tex(text: str) -> str:
    return "".join(ESCAPED.get(letter, letter) for letter in text)


def html(document: Mapping[str, Any]) -> str:
    """The page `benchmark.html`."""
    environment = Environment(
        loader=PackageLoader("sonobalance", "comparison"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(filters())
    environment.filters.update(metrics_in=metrics_in, best_values=best_values)
    metrics = metrics_in(document)
    return environment.get_template("benchmark.html.j2").render(
        document=document, style=stylesheet(),
        sentences=sentences(),
        forest=forest_figure(
            [row | {"arm": f"against {row['against']}"} for row in document["verdicts"]]
        ),
        references=list(dict.fromkeys(row["against"] for row in document["paired"])),
        shown=("macro_f1", *[m for m in metrics if m.startswith("recall_")]),
        differences={(r["arm"], r["against"], r["metric"]): r for r in document["paired"]},
    )  # fmt: skip


def sentences() -> dict[str, str]:
    """What each arm is."""
    trained = {str(arm): what.sentence for arm, what in TREATMENTS.items()}
    return trained | {guarded.GUARDED: guarded.SENTENCE}
