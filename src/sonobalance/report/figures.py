"""The charts of the report: each takes plain numbers and gives inline SVG, or nothing to show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from sonobalance.report.charts import (
    DASHES,
    GRID,
    MARKERS,
    MUTED,
    SERIES,
    TEXT,
    beside,
    canvas,
    svg,
)
from sonobalance.report.formatting import count, finite, metric_name, number, signed

PARTS = ("train", "val", "test", "excluded")
WIDTH_PX = 400


def parts_figure(counts: Mapping[tuple[str, str], int], classes: Sequence[str]) -> Markup | None:
    """Images per class as bars stacked by part; `counts` maps (class, part) to images."""
    if not counts:
        return None
    colors = dict(zip(PARTS, (SERIES[0], SERIES[5], SERIES[2], MUTED), strict=True))
    names = {"train": "TRAIN", "val": "VAL", "test": "TEST", "excluded": "excluded"}
    parts = [p for p in PARTS if any(counts.get((label, p)) for label in classes)]
    with canvas(WIDTH_PX, 70 + 38 * len(classes)) as (figure, axes):
        start = dict.fromkeys(classes, 0)
        for part in parts:
            sizes = [counts.get((label, part), 0) for label in classes]
            bars = axes.barh(
                list(classes), sizes, left=list(start.values()), color=colors[part],
                height=0.6, label=names[part],
            )  # fmt: skip
            for bar in bars:
                bar.set_linewidth(0)
            start = {label: start[label] + n for label, n in zip(classes, sizes, strict=True)}
        for i, total in enumerate(start.values()):
            beside(axes, total, i, count(total))
        axes.set_xlim(0, 1.12 * max(start.values()))
        axes.set_xlabel("images")
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        figure.legend(loc="outside upper left", ncols=len(parts), handlelength=0.9)
        words = "; ".join(
            f"{label}: " + ", ".join(f"{counts.get((label, p), 0)} {names[p]}" for p in parts)
            for label in classes
        )
        return svg(figure, "parts", f"Images per class and part. {words}.")


def reasons_figure(reasons: Mapping[str, int]) -> Markup | None:
    """Horizontal bars of counts by reason, most frequent first."""
    if not reasons:
        return None
    ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
    with canvas(WIDTH_PX, 40 + 28 * len(ordered)) as (figure, axes):
        axes.barh([k for k, _ in ordered], [n for _, n in ordered], color=SERIES[1], height=0.62)
        for i, (_, n) in enumerate(ordered):
            beside(axes, n, i, count(n))
        axes.set_xlim(0, 1.15 * max(n for _, n in ordered))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        words = ", ".join(f"{reason} {n}" for reason, n in ordered)
        return svg(figure, "reasons", f"Candidates rejected, by reason: {words}.")


def curves_figure(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, key: str, title: str,
    x: str = "kimg", mark: float | None = None,
) -> Markup | None:  # fmt: skip
    """Logged values over `x`, a line per column of the log.

    Args:
        rows: rows of a log.
        columns: column → name of its line.
        key: unique on the page.
        title: heading of the chart.
        x: column of the abscissa.
        mark: where a dotted vertical line stands, in units of `x`.
    """
    lines = {name: _known_points(rows, x, column) for column, name in columns.items()}
    lines = {name: points for name, points in lines.items() if len(points) > 1}
    if not lines:
        return None
    with canvas(WIDTH_PX, 240) as (figure, axes):
        for i, (name, points) in enumerate(lines.items()):
            axes.plot(*zip(*points, strict=True), color=SERIES[i % 6], linestyle=DASHES[i % 6],
                      label=name)  # fmt: skip
        if mark is not None:
            axes.axvline(mark, color=MUTED, linewidth=1, linestyle=DASHES[2])
        axes.set_title(title)
        axes.set_xlabel("thousand real images shown" if x == "kimg" else "steps")
        axes.margins(x=0.02)
        if len(lines) > 1:
            axes.legend(loc="best", fontsize=8, handlelength=2.4, ncols=1 + (len(lines) > 3))
        return svg(figure, key, f"{title}: {', '.join(lines)}.")


def _known_points(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    points = [(finite(row.get(x)), finite(row.get(y))) for row in rows]
    return [(a, b) for a, b in points if a is not None and b is not None]


def forest_figure(paired: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Paired differences against the baseline with their intervals; zero means no change."""
    rows = [r for r in paired if finite(r.get("difference")) is not None]
    if not rows:
        return None
    several = len({r.get("arm") for r in rows}) > 1
    with canvas(WIDTH_PX, 60 + 34 * len(rows)) as (figure, axes):
        axes.axvline(0, color=TEXT, linewidth=1)
        names, told = [], []
        for i, row in enumerate(rows):
            difference = float(row["difference"])
            low, high = finite(row.get("low")), finite(row.get("high"))
            if low is not None and high is not None:
                axes.plot([low, high], [i, i], color=SERIES[0], linewidth=2, solid_capstyle="butt")
            axes.plot(difference, i, marker="D", markersize=5, color=SERIES[0])
            arm = f"\n{row.get('arm')}" if several else ""
            names.append(metric_name(str(row.get("metric"))) + arm)
            told.append(f"{names[-1]} {signed(difference)} ({number(low)} to {number(high)})")
        axes.set_yticks(range(len(rows)), names)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(axis="y", visible=False)
        reach = max(abs(edge) for edge in axes.get_xlim())
        axes.set_xlim(-reach, reach)
        axes.set_xlabel("← worse than the baseline   |   better →")
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
        with canvas(280, 290) as (figure, axes):
            axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.8, linestyle=(0, (2, 3)))
            for i, (arm, line) in enumerate(lines.items()):
                area = finite((arms.get(arm, {}).get(f"auc_{label}") or {}).get("value"))
                axes.plot(
                    line["fpr"], line["tpr"], color=SERIES[i % 6], linestyle=DASHES[i % 6],
                    label=f"{arm}  AUC {number(area)}",
                )  # fmt: skip
            axes.set_title(label)
            axes.set_xlabel("1 − specificity")
            axes.set_ylabel("sensitivity")
            axes.set_aspect("equal")
            axes.legend(loc="lower right", fontsize=7.5, handlelength=2.2)
            words = "; ".join(str(line.get_label()) for line in axes.get_lines()[1:])
            drawn.append(svg(figure, f"roc{number_of_class}", f"ROC of {label}: {words}."))
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
            axes.plot(
                [p[0] for p in points], [p[1] for p in points], color=SERIES[i % 6],
                linestyle=DASHES[i % 6], label=arm,
            )  # fmt: skip
            most = max(p[2] for p in points)
            axes.scatter(
                [p[0] for p in points], [p[1] for p in points], marker=MARKERS[i % 6],
                s=[10 + 60 * p[2] / most for p in points], color=SERIES[i % 6], zorder=3,
            )  # fmt: skip
        axes.set(xlim=(0, 1.02), ylim=(0, 1.02), aspect="equal")
        axes.set_xlabel("stated confidence")
        axes.set_ylabel("share that is right")
        axes.legend(loc="upper left")
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
    """Class probability while pixels go (or come) in the order of the map or at random."""
    curve = curves.get(key) or {}
    if not curve.get("share"):
        return None
    with canvas(340, 230) as (figure, axes):
        for i, (name, words) in enumerate(
            (("map", "in the order of the map"), ("random", "at random"))
        ):
            if curve.get(name):
                axes.plot(
                    curve["share"], curve[name], color=SERIES[i], linestyle=DASHES[i], label=words
                )
        axes.set_xlabel("share of pixels " + ("removed" if key.startswith("deletion") else "shown"))
        axes.set_ylabel("class probability")
        figure.legend(loc="outside upper left", ncols=2, handlelength=2.2)
        return svg(
            figure,
            key.replace("_", "-"),
            f"{key.replace('_', ' ')} curve of the map and of random order.",
        )
