"""Which cases are shown, by rule and never by hand, and the picture of each."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from sonobalance.data.images import Gray, Mask, write_png
from sonobalance.explain.localisation import Map

COLOURS = "viridis"
CONTOUR = "#ff8f00"
PANEL_INCHES = 2.6
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
    path: Path, image: Gray, lesion: Mask | None, maps: dict[str, Map], text: dict[str, str]
) -> None:
    """Write a row of panels: the image with its lesion's outline, then every map over the image.

    The colours of a map are perceptually uniform and safe for colour-blind readers; its scale
    runs from 0 to its own peak in the units of the map. Evidence against the class stays grey.

    Args:
        path: the PNG file.
        image: (H, W) grey values.
        lesion: (H, W) bool, or None.
        maps: title → (H, W) float32.
        text: what to keep in the file's text chunks.
    """
    panels = 1 + len(maps)
    figure = Figure((PANEL_INCHES * panels, PANEL_INCHES), dpi=DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _show(axes[0], image, lesion, "image" if lesion is None else "image, lesion outlined")
    for axis, (title, map_) in zip(axes[1:], maps.items(), strict=True):
        _show(axis, image, lesion, title)
        peak = float(map_.max()) if map_.max() > 0 else 1.0
        strength = np.clip(map_ / peak, 0, 1)
        shown = axis.imshow(map_, COLOURS, vmin=0, vmax=peak, alpha=0.65 * np.sqrt(strength))
        bar = figure.colorbar(shown, ax=axis, location="bottom", shrink=0.9, ticks=[0, peak])
        if bar.solids is not None:
            bar.solids.set_alpha(1)
        bar.ax.set_xticklabels(["0", f"{peak:.2g}"], fontsize=7)
    canvas.draw()
    write_png(path, np.asarray(canvas.buffer_rgba())[..., :3].copy(), text)


def _show(axis: Axes, image: Gray, lesion: Mask | None, title: str) -> None:
    axis.imshow(image, "gray", vmin=0, vmax=255)
    if lesion is not None:
        axis.contour(lesion, levels=[0.5], colors=CONTOUR, linewidths=1)
    axis.set_title(title, fontsize=8)
    axis.set_axis_off()
