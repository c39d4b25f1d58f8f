"""Charts of data and synthesis: plain numbers to inline SVG, or nothing to show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from sonobalance.reporting.charts import (
    DASHES,
    MUTED,
    PAGE,
    SERIES,
    beside,
    canvas,
    legend_below,
    look,
    svg,
)
from sonobalance.reporting.formatting import count, finite

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
                bar.set(edgecolor=PAGE, linewidth=1)
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
            colour, dash, _ = look(i)
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=dash, label=name)
        if mark is not None:
            axes.axvline(mark, color=MUTED, linewidth=1, linestyle=DASHES[2])
        axes.set_title(title)
        axes.set_xlabel("thousand real images shown" if x == "kimg" else "steps")
        axes.margins(x=0.02)
        if len(lines) > 1:
            legend_below(figure, columns=3 if len(lines) == 3 else 2)
        return svg(figure, key, f"{title}: {', '.join(lines)}.")


def _known_points(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> list[tuple[float, float]]:
    points = [(finite(row.get(x)), finite(row.get(y))) for row in rows]
    return [(a, b) for a, b in points if a is not None and b is not None]
