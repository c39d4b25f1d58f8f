"""The cards of explained cases: image, outline, maps with their scales, what the run knows."""

from __future__ import annotations

from typing import Any

from matplotlib import colormaps
from matplotlib.colors import to_hex

from sonobalance.explanation.gallery import COLOURS
from sonobalance.reporting.artefacts import RunFiles, as_dict, as_list
from sonobalance.reporting.formatting import compact, finite, percent
from sonobalance.reporting.pictures import overlay, scan

PANEL_PX, NEIGHBOUR_PX, STRIP_PX = 480, 160, 900
STOPS = 9


def cards(run: RunFiles, document: dict[str, Any]) -> list[dict[str, Any]]:
    """One card per case of `explanation.json`, in its order."""
    classes = [str(name) for name in as_list(document.get("classes"))]
    unfit = {
        name for name, words in as_dict(document.get("map_info")).items()
        if as_dict(words).get("fit") is False
    }  # fmt: skip
    return [_card(run, as_dict(case), classes, unfit) for case in as_list(document.get("cases"))]


def scale_colours() -> str:
    """The colours of the maps as stops of a CSS gradient, from 0 to the peak."""
    colours = colormaps[COLOURS]
    return ", ".join(to_hex(colours(i / (STOPS - 1))) for i in range(STOPS))


def _card(
    run: RunFiles, case: dict[str, Any], classes: list[str], unfit: set[str]
) -> dict[str, Any]:
    label = str(case.get("label", ""))
    words = str(case.get("alt") or f"Image {case.get('id')}")
    held = as_dict(case.get("set"))
    return case | {
        "place": classes.index(label) if label in classes else len(classes),
        "picture": overlay(run.folder / str(case.get("image", "")), PANEL_PX, words),
        "rings": [_path(ring) for ring in as_list(case.get("outline"))],
        "panels": [_panel(run, as_dict(p), unfit) for p in as_list(case.get("panels"))],
        "probabilities": {name: float(p) for name, p in as_dict(case.get("probabilities")).items()},
        "held": [str(name) for name in as_list(held.get("classes"))] if held else None,
        "coverage": finite(held.get("coverage")),
        "strangeness": finite(case.get("strangeness")),
        "channels": as_dict(case.get("channels")),
        "counterfactual": _strip(run, as_dict(case.get("counterfactual"))),
        "neighbours": [_neighbour(run, as_dict(n)) for n in as_list(case.get("neighbours"))],
    }


def _panel(run: RunFiles, panel: dict[str, Any], unfit: set[str]) -> dict[str, Any]:
    name = str(panel.get("map", ""))
    words = str(panel.get("alt") or f"Map {name}")
    peak = finite(panel.get("peak"))
    return panel | {
        "picture": overlay(run.folder / str(panel.get("image", "")), PANEL_PX, words),
        "peak": None if peak is None else compact(peak),
        "unfit": name in unfit,
    }


def _neighbour(run: RunFiles, neighbour: dict[str, Any]) -> dict[str, Any]:
    synthetic = neighbour.get("origin") == "synthetic"
    images = run.synthetic if synthetic else run.real
    key = str(neighbour.get("id", ""))
    return neighbour | {"picture": scan(images, key, NEIGHBOUR_PX, ""), "synthetic": synthetic}


def _strip(run: RunFiles, strip: dict[str, Any]) -> dict[str, Any] | None:
    if not strip:
        return None
    shares = [finite(p) for p in as_list(strip.get("probability"))]
    words = (
        f"Synthetic pictures from {strip.get('from')} towards {strip.get('towards')}; the "
        f"classifier's probability of {strip.get('towards')}: "
        + ", ".join(percent(p) for p in shares)
    )
    picture = overlay(run.folder / str(strip.get("image", "")), STRIP_PX, words)
    return strip | {"picture": picture, "probability": shares}


def _path(ring: Any) -> str:
    """A closed SVG path in a box of 100 × 100."""
    points = [f"{100 * float(x):.2f},{100 * float(y):.2f}" for x, y in as_list(ring)]
    return f"M{' L'.join(points)} Z" if points else ""
