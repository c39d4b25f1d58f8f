"""Where the classifier looks, measured against chance, and cases chosen by rule."""

from __future__ import annotations

from typing import Any

from sonobalance.reporting.artefacts import RunFiles, as_dict, as_list
from sonobalance.reporting.pictures import overlay
from sonobalance.reporting.score_figures import faithfulness_figure, localisation_figure
from sonobalance.reporting.section import Section

LOCALISATION = ("pointing_game", "energy_ratio")
CASE_PX = 1200


def explanations(run: RunFiles) -> Section:
    """Gallery, localisation, faithfulness and sanity of the evidence maps."""
    document = run.document("explanation.json")
    maps, info = as_dict(document.get("maps")), as_dict(document.get("map_info"))
    unfit = unfit_maps(document)
    rows = [(_named(name, unfit), as_dict(scores)) for name, scores in maps.items()]
    controls = as_dict(document.get("controls"))
    rows += [(f"{name} (control)", as_dict(scores)) for name, scores in controls.items()]
    first = next(iter(maps), "")
    values = {
        "present": bool(document),
        "arm": document.get("arm", ""),
        "n": document.get("n"),
        "n_with_mask": document.get("n_with_mask"),
        "groups": document.get("groups"),
        "target": document.get("target", "predicted"),
        "target_layer": document.get("target_layer", ""),
        "metrics": _metrics(document, maps),
        "rows": rows,
        "unfit": unfit,
        "info": info,
        "figures": [
            localisation_figure([(n, as_dict(s.get(m))) for n, s in rows], m, f"loc-{m}")
            for m in LOCALISATION
        ],
        "faithfulness": as_dict(document.get("faithfulness")),
        "faithfulness_columns": list(
            dict.fromkeys(k for v in as_dict(document.get("faithfulness")).values() for k in v)
        ),
        "curves": [
            f for key in ("deletion_blur", "insertion_blur")
            if (f := faithfulness_figure(as_dict(as_dict(document.get("curves")).get(first)), key))
        ],
        "curve_map": first,
        "sanity": as_dict(document.get("sanity")),
        "right_wrong": _right_wrong(document, first),
        "cases": [_case(run, as_dict(case)) for case in as_list(document.get("cases"))],
    }  # fmt: skip
    return Section("explanations", "Explanations", values, ("explanation.json", "maps/"))


def unfit_maps(document: dict[str, Any]) -> list[str]:
    """The map types that failed a sanity check."""
    info = as_dict(document.get("map_info"))
    return [name for name, words in info.items() if as_dict(words).get("fit") is False]


def _named(name: str, unfit: list[str]) -> str:
    return f"{name} (unfit)" if name in unfit else name


def _metrics(document: dict[str, Any], maps: dict[str, Any]) -> list[dict[str, Any]]:
    given = [as_dict(m) for m in as_list(document.get("metrics"))]
    if given:
        known = {name for scores in maps.values() for name in as_dict(scores)}
        return [m for m in given if m.get("name") in known]
    return [{"name": name, "sentence": ""} for name in as_dict(next(iter(maps.values()), {}))]


def _right_wrong(document: dict[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    """Scores of one map over rightly and wrongly classified images and per class."""
    parts = {**as_dict(document.get("right_wrong")), **as_dict(document.get("by_class"))}
    return [(part, as_dict(as_dict(maps).get(name))) for part, maps in parts.items()]


def _case(run: RunFiles, case: dict[str, Any]) -> dict[str, Any]:
    words = str(case.get("alt") or f"Evidence map of {case.get('id')}")
    path = run.folder / str(case.get("image", ""))
    return case | {
        "picture": overlay(path, CASE_PX, words),
        "probabilities": {
            label: float(p) for label, p in as_dict(case.get("probabilities")).items()
        },
    }
