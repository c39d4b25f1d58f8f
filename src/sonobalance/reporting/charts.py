"""Matplotlib figures as inline SVG that follows the page: its fonts, its colours, light and dark.

Figures are drawn in sentinel colours that become CSS variables, text stays text, identifiers are
made unique on the page, and neither date nor version enters, so equal data give equal bytes.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TEXT, MUTED, GRID, PAGE = "#010203", "#020304", "#030405", "#040506"
SERIES = ("#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04", "#0a0b05", "#0a0b06")
VARIABLES = {
    TEXT: "var(--text)", MUTED: "var(--muted)", GRID: "var(--grid)", PAGE: "var(--page)",
    **{color: f"var(--c{i})" for i, color in enumerate(SERIES, 1)},
}  # fmt: skip
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (6, 2, 1, 2)), (0, (3, 1)), (0, (8, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")
CSS_PX_PER_INCH = 96

STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "sonobalance", "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.color": TEXT, "axes.labelcolor": MUTED, "xtick.color": MUTED, "ytick.color": MUTED,
    "axes.edgecolor": MUTED, "grid.color": GRID, "axes.grid": True, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "axes.titlesize": 9.5, "xtick.labelsize": 9, "ytick.labelsize": 9, "legend.fontsize": 9,
    "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.titlecolor": TEXT, "axes.facecolor": "none", "figure.facecolor": "none",
    "xtick.major.size": 0, "ytick.major.size": 0, "legend.frameon": False,
    "legend.labelcolor": TEXT, "lines.linewidth": 1.6, "axes.unicode_minus": True,
    "path.simplify": True, "text.parse_math": False,
}  # fmt: skip


def look(i: int) -> tuple[str, Any, str]:
    """Colour, dashes and marker of the line number `i`; 36 lines all differ."""
    return SERIES[i % 6], DASHES[(i + i // 6) % 6], MARKERS[(i + i // 6) % 6]


@contextmanager
def canvas(width_px: int, height_px: int) -> Iterator[tuple[Figure, Axes]]:
    """A figure of this size in CSS pixels and its axes, in the page's style."""
    with mpl.rc_context(STYLE):
        size = (width_px / CSS_PX_PER_INCH, height_px / CSS_PX_PER_INCH)
        figure = Figure(figsize=size, layout="constrained")
        yield figure, figure.subplots()


def beside(axes: Axes, x: float, y: float, text: str) -> None:
    """Write a short text to the right of the end of a bar."""
    axes.annotate(text, (x, y), (4, 0), textcoords="offset points", va="center", color=TEXT)


def legend_below(figure: Figure, columns: int) -> None:
    """The names of the lines, below the axes where they hide none."""
    figure.legend(loc="outside lower left", ncols=columns, handlelength=2.4, columnspacing=1.4)


def svg(figure: Figure, name: str, description: str) -> Markup:
    """The figure as an inline SVG element.

    Args:
        figure: a figure made by `canvas`.
        name: unique on the page; prefixes the identifiers inside.
        description: what a reader who cannot see it should be told.
    """
    raw = io.StringIO()
    with mpl.rc_context(STYLE):
        clear = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(raw, format="svg", metadata=clear)
    body = _unique_ids(_inner(raw.getvalue()), name)
    for color, variable in VARIABLES.items():
        body = body.replace(color, variable)
    width, height = (round(side * CSS_PX_PER_INCH) for side in figure.get_size_inches())
    box = f"0 0 {width * 0.75:g} {height * 0.75:g}"
    drawing = Markup(body)  # noqa: S704 - matplotlib escapes the text it draws
    return Markup(
        '<div class="chart"><svg role="img" aria-label="{}" viewBox="{}" width="{}" height="{}">'
        "{}</svg></div>"
    ).format(escape(description), box, width, height, drawing)


def _inner(document: str) -> str:
    """What stands inside the `<svg>` element, without metadata, styles and the XML namespace."""
    body = document[document.index("<svg") :]
    body = body[body.index(">") + 1 : body.rindex("</svg>")]
    for unwanted in (r"<metadata>.*?</metadata>", r"<style.*?</style>", r"<!--.*?-->"):
        body = re.sub(unwanted, "", body, flags=re.DOTALL)
    body = body.replace("xlink:href", "href")
    body = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", body)
    return re.sub(r"\n\s*", "\n", body).strip()


def _unique_ids(body: str, name: str) -> str:
    """Keep only the identifiers that are referred to, prefixed by the figure's name."""
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", body))

    def rename(match: re.Match[str]) -> str:
        return f' id="{name}-{match[1]}"' if match[1] in used else ""

    body = re.sub(r' id="([^"]+)"', rename, body)
    return re.sub(r'(url\(#|href="#)([^)"]+)', rf"\g<1>{name}-\2", body)
