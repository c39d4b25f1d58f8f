"""Charts of results and explanations: plain numbers to inline SVG, or nothing to show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from sonobalance.reporting.charts import (
    DASHES,
    GRID,
    MUTED,
    SERIES,
    TEXT,
    canvas,
    legend_below,
    look,
    svg,
)
from sonobalance.reporting.figures import WIDTH_PX
from sonobalance.reporting.formatting import finite, metric_name, number, signed


def forest_figure(paired: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Paired differences of arms with their intervals; zero means no change."""
    rows = [r for r in paired if finite(r.get("difference")) is not None]
    if not rows:
        return None
    several = len({r.get("compared") for r in rows}) > 1
    with canvas(WIDTH_PX, 60 + 34 * len(rows)) as (figure, axes):
        axes.axvline(0, color=TEXT, linewidth=1)
        names, told = [], []
        for i, row in enumerate(rows):
            difference = float(row["difference"])
            low, high = finite(row.get("low")), finite(row.get("high"))
            if low is not None and high is not None:
                axes.plot([low, high], [i, i], color=SERIES[0], linewidth=2, solid_capstyle="butt")
            axes.plot(difference, i, marker="D", markersize=5, color=SERIES[0])
            arms = f"\n{row.get('compared')}" if several else ""
            names.append(metric_name(str(row.get("metric"))) + arms)
            told.append(f"{names[-1]} {signed(difference)} ({number(low)} to {number(high)})")
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        reach = max(abs(edge) for edge in axes.get_xlim())
        axes.set_xlim(-reach, reach)
        axes.locator_params(axis="x", nbins=5)
        axes.set_xlabel("← the first is lower   |   higher →")
        return svg(figure, "forest", f"Paired differences. {'; '.join(told)}.")


def roc_figure(
    curves: Mapping[str, Any], classes: Sequence[str], arms: Mapping[str, Any]
) -> list[Markup]:
    """One-vs-rest ROC, one chart per class and a line per arm."""
    drawn = []
    for number_of_class, label in enumerate(classes):
        lines = {arm: by.get(label) for arm, by in curves.items() if by and by.get(label)}
        if not lines:
            continue
        with canvas(280, 280 + 15 * len(lines)) as (figure, axes):
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
            for i, (arm, line) in enumerate(lines.items()):
                area = finite((arms.get(arm, {}).get(f"auc_{label}") or {}).get("value"))
                colour, dash, _ = look(i)
                axes.plot(
                    line["fpr"], line["tpr"], color=colour, linestyle=dash,
                    label=f"{arm}  AUC {number(area)}",
                )  # fmt: skip
            axes.set_title(label)
            axes.set_xlabel("1 − specificity")
            axes.set_ylabel("sensitivity")
            axes.set_aspect("equal")
            legend_below(figure, columns=1)
            words = "; ".join(str(line.get_label()) for line in axes.get_lines()[1:])
            drawn.append(svg(figure, f"roc{number_of_class}", f"ROC of {label}: {words}."))
    return drawn


def decision_figure(curves: Mapping[str, Any], classes: Sequence[str]) -> list[Markup]:
    """Net benefit of acting on a class above a threshold (Vickers & Elkin 2006), one per class."""
    drawn = []
    for position, label in enumerate(classes):
        lines = {arm: by[label] for arm, by in curves.items() if by and by.get(label)}
        if not lines:
            continue
        with canvas(280, 260 + 15 * len(lines)) as (figure, axes):
            first = next(iter(lines.values()))
            axes.plot(first["threshold"], first["act_on_all"], color=MUTED, linewidth=0.8,
                      linestyle=DASHES[2], label="act on all")  # fmt: skip
            axes.axhline(0, color=MUTED, linewidth=0.8)
            for i, (arm, line) in enumerate(lines.items()):
                colour, dash, _ = look(i)
                axes.plot(line["threshold"], line["net_benefit"], color=colour,
                          linestyle=dash, label=arm)  # fmt: skip
            most = max(max(line["net_benefit"]) for line in lines.values())
            axes.set_ylim(-0.3 * max(most, 0.1), 1.1 * max(most, 0.1))
            axes.set_title(label)
            axes.set_xlabel("probability from which one acts")
            axes.set_ylabel("net benefit")
            legend_below(figure, columns=1)
            drawn.append(svg(figure, f"decision{position}", f"Net benefit of acting on {label}."))
    return drawn


def calibration_figure(calibration: Mapping[str, Any]) -> Markup | None:
    """How often the predicted class is right at each stated confidence, a line per arm."""
    lines = {arm: _reliability((value or {}).get("bins")) for arm, value in calibration.items()}
    lines = {arm: points for arm, points in lines.items() if points}
    if not lines:
        return None
    with canvas(360, 340) as (figure, axes):
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
        for i, (arm, points) in enumerate(lines.items()):
            colour, dash, marker = look(i)
            axes.plot(
                [p[0] for p in points], [p[1] for p in points], color=colour, linestyle=dash,
                label=arm,
            )  # fmt: skip
            most = max(p[2] for p in points)
            axes.scatter(
                [p[0] for p in points], [p[1] for p in points], marker=marker,
                s=[10 + 60 * p[2] / most for p in points], color=colour, zorder=3,
            )  # fmt: skip
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.set_xlabel("stated confidence")
        axes.set_ylabel("share that is right")
        legend_below(figure, columns=2)
        return svg(figure, "calibration", f"Calibration of {', '.join(lines)} on TEST.")


def _reliability(bins: Iterable[Mapping[str, Any]] | None) -> list[tuple[float, float, float]]:
    points = [
        (finite(b.get("confidence")), finite(b.get("accuracy")), b.get("count", 1))
        for b in bins or ()
    ]
    return [(a, b, float(n)) for a, b, n in points if a is not None and b is not None]


def localisation_figure(
    rows: Sequence[tuple[str, Mapping[str, Any]]], metric: str, name: str
) -> Markup | None:
    """One localisation score of several maps with intervals; the chance level is a bar behind."""
    known = [(label, scores) for label, scores in rows if finite(scores.get("value")) is not None]
    if not known:
        return None
    with canvas(WIDTH_PX, 56 + 30 * len(known)) as (figure, axes):
        for i, (_, scores) in enumerate(known):
            chance = finite(scores.get("chance"))
            if chance is not None:
                axes.plot([chance, chance], [i - 0.32, i + 0.32], color=SERIES[1], linewidth=2.5)
            low, high = finite(scores.get("low")), finite(scores.get("high"))
            if low is not None and high is not None:
                axes.plot([low, high], [i, i], color=SERIES[0], linewidth=2, solid_capstyle="butt")
            axes.plot(float(scores["value"]), i, marker="o", markersize=5, color=SERIES[0])
        axes.set_yticks(range(len(known)), [label for label, _ in known])
        axes.set_ylim(len(known) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.grid(axis="y", color=GRID)
        axes.set_xlabel(metric_name(metric))
        words = "; ".join(
            f"{label} {number(s['value'])} (chance {number(s.get('chance'))})" for label, s in known
        )
        return svg(figure, name, f"{metric_name(metric)}: {words}.")


def faithfulness_figure(curves: Mapping[str, Any], key: str) -> Markup | None:
    """Class probability while pixels go (or come) in the order of the map or of a random one."""
    curve = curves.get(key) or {}
    if not curve.get("share"):
        return None
    with canvas(340, 230) as (figure, axes):
        for i, (name, words) in enumerate(
            (("map", "in the order of the map"), ("random", "of a random map"))
        ):
            if curve.get(name):
                axes.plot(
                    curve["share"], curve[name], color=SERIES[i], linestyle=DASHES[i], label=words
                )
        axes.set_xlabel("share of pixels " + ("removed" if key.startswith("deletion") else "shown"))
        axes.set_ylabel("class probability")
        legend_below(figure, columns=2)
        return svg(
            figure,
            key.replace("_", "-"),
            f"{key.replace('_', ' ')} curve of the map and of a random one.",
        )
