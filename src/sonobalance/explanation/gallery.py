"""Which cases are shown, by rule and never by hand, and the picture of each."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sonobalance.data.images import Gray, Mask, write_png
from sonobalance.explanation.localisation import Map

COLOURS = "viridis"
CONTOUR = "#ff8f00"
PANEL_INCHES, GAP_INCHES, TITLE_INCHES, BAR_INCHES = 2.6, 0.1, 0.3, 0.4
MAX_ASPECT = 1.5
DPI = 100


@dataclass(frozen=True)
class Case:
    """One image of the gallery.

    Attributes:
        index: position of the image.
        rule: why it was chosen.
    """

    index: int
    rule: str


def choose_cases(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    confidence: NDArray[np.float64],
    *,
    ids: tuple[str, ...],
    classes: tuple[str, ...],
    per_class: int,
) -> list[Case]:
    """For every class, right and wrong cases evenly spaced from the most to the least confident.

    Args:
        labels: (N,) index of the true class.
        predicted: (N,) index of the predicted class.
        confidence: (N,) probability of the predicted class.
        ids: N image ids, which order cases of equal confidence.
        classes: class names.
        per_class: most right cases, and most wrong cases, of a class.
    """
    out = []
    for k, name in enumerate(classes):
        for right in (True, False):
            pool = np.flatnonzero((labels == k) & ((predicted == k) == right))
            ranked = sorted(pool.tolist(), key=lambda i: (-confidence[i], ids[i]))
            places = np.linspace(0, len(ranked) - 1, min(per_class, len(ranked)))
            out += [
                Case(ranked[place], _rule(name, place, len(ranked), right=right))
                for place in places.round().astype(int).tolist()
            ]
    return out


def _rule(name: str, place: int, count: int, *, right: bool) -> str:
    if count == 1:
        where = "the only one"
    elif place == 0:
        where = "most confident"
    elif place == count - 1:
        where = "least confident"
    else:
        where = f"number {place + 1} of {count} by confidence"
    return f"{'right' if right else 'wrong'}, {name}, {where}"


def file_name(key: str) -> str:
    """A file name for an image id that is safe everywhere and unique."""
    plain = re.sub(r"[^A-Za-z0-9]+", "-", key).strip("-")[-40:]
    return f"{plain}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.png"


def draw_case(
    path: Path,
    image: Gray,
    lesion: Mask | None,
    maps: dict[str, Map],
    *,
    least_peaks: Mapping[str, float],
    text: dict[str, str],
) -> None:
    """Write a row of panels: the image with its lesion's outline, then every map over the image.

    The colours of a map are perceptually uniform and safe for colour-blind readers; its scale
    runs from 0 to its own peak in the units of the map, or to its least peak, so that next to
    nothing looks like next to nothing. Evidence against the class stays grey.

    Args:
        path: the PNG file.
        image: (H, W) grey values.
        lesion: (H, W) bool, or None.
        maps: title → (H, W) float32.
        least_peaks: title → end of the scale of a map that stays below it.
        text: what to keep in the file's text chunks.
    """
    tall = min(MAX_ASPECT, image.shape[0] / image.shape[1]) * PANEL_INCHES
    size = ((PANEL_INCHES + GAP_INCHES) * (1 + len(maps)), tall + TITLE_INCHES + BAR_INCHES)
    figure = Figure(size, dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    axes = [_panel(figure, place, tall) for place in range(1 + len(maps))]
    _show(axes[0], image, lesion, "image" if lesion is None else "image, lesion outlined")
    for place, (title, map_) in enumerate(maps.items(), start=1):
        flat = map_.max() <= 0
        _show(axes[place], image, lesion, f"{title} (none anywhere)" if flat else title)
        if not flat:
            peak = max(float(map_.max()), least_peaks.get(title, 0.0))
            _overlay(figure, axes[place], place, map_, peak)
    canvas.draw()
    write_png(path, np.asarray(canvas.buffer_rgba())[..., :3].copy(), text)


def _panel(figure: Figure, place: int, tall: float) -> Axes:
    width, height = figure.get_size_inches()
    left = place * (PANEL_INCHES + GAP_INCHES) + GAP_INCHES / 2
    box = (left / width, BAR_INCHES / height, PANEL_INCHES / width, tall / height)
    return figure.add_axes(box)


def _overlay(figure: Figure, axis: Axes, place: int, map_: Map, peak: float) -> None:
    """The map over its panel, and its scale below."""
    opacity = 0.65 * np.sqrt(np.clip(map_ / peak, 0, 1))
    axis.imshow(map_, COLOURS, vmin=0, vmax=peak, alpha=opacity)
    width, height = figure.get_size_inches()
    left = place * (PANEL_INCHES + GAP_INCHES) + GAP_INCHES / 2 + 0.1 * PANEL_INCHES
    below = figure.add_axes((left / width, 0.22 / height, 0.8 * PANEL_INCHES / width, 0.1 / height))
    below.imshow(np.linspace(0, 1, 256)[None], COLOURS, aspect="auto", extent=(0, 1, 0, 1))
    below.set_yticks([])
    below.set_xticks([0, 1], ["0", f"{peak:.2g}"], fontsize=7)


def _show(axis: Axes, image: Gray, lesion: Mask | None, title: str) -> None:
    axis.imshow(image, "gray", vmin=0, vmax=255)
    if lesion is not None:
        axis.contour(lesion, levels=[0.5], colors=CONTOUR, linewidths=1)
    axis.set_title(title, fontsize=8)
    axis.set_axis_off()
