"""Where the classifier looks, measured against chance, and cases chosen by rule."""

from __future__ import annotations

from typing import Any

from sonobalance.arms import SYNTHETIC
from sonobalance.reporting.artefacts import RunFiles, as_dict, as_list
from sonobalance.reporting.formatting import finite
from sonobalance.reporting.score_figures import faithfulness_figure, localisation_figure
from sonobalance.reporting.section import Section
from sonobalance.reporting.sections.cases import cards, scale_colours

BALANCED = "over-sampling"  # a synthesis arm without its images
LOCALISATION = ("pointing_game", "energy_ratio")
SHORTCUTS = ("border", "marks")
CHANGED = (*LOCALISATION, "iou", *SHORTCUTS)


def explanations(run: RunFiles) -> Section:
    """Gallery, localisation, faithfulness and sanity of the evidence maps."""
    document = run.document("explanation.json")
    maps, info = as_dict(document.get("maps")), as_dict(document.get("map_info"))
    unfit = unfit_maps(document)
    rows = _rows(document, unfit)
    best = _clearest(maps, unfit)
    faithful = as_dict(document.get("faithfulness"))
    shown = best if best in faithful else next(iter(faithful), "")
    values = {
        "present": bool(document),
        "arm": document.get("arm", ""),
        "n": document.get("n"),
        "n_with_mask": document.get("n_with_mask"),
        "groups": document.get("groups"),
        "target": document.get("target", "predicted"),
        "target_layer": document.get("target_layer", ""),
        "fine_layers": as_list(document.get("fine_layers")),
        "mirror": bool(document.get("mirror")),
        "classes": as_list(document.get("classes")),
        "scale": scale_colours(),
        "metrics": _metrics(document, maps),
        "rows": rows,
        "generated": _generated(document, unfit),
        "unfit": unfit,
        "info": info,
        "figures": [
            localisation_figure([(n, as_dict(s.get(m))) for n, s in rows], m, f"loc-{m}")
            for m in LOCALISATION
        ],
        "faithfulness": faithful,
        "faithfulness_columns": list(dict.fromkeys(k for v in faithful.values() for k in v)),
        "sensitivity": as_dict(document.get("sensitivity")),
        "curves": [
            f for key in ("deletion_road", "insertion_road", "deletion_blur", "insertion_blur")
            if (f := faithfulness_figure(as_dict(as_dict(document.get("curves")).get(shown)), key))
        ],
        "curve_map": shown,
        "best": best,
        "sanity": as_dict(document.get("sanity")),
        "right_wrong": _right_wrong(document, best),
        "shortcuts": _shortcuts(document),
        "change": _change(as_dict(document.get("before_after")), unfit),
        "examples": as_dict(document.get("examples")),
        "cases": cards(run, document),
    }  # fmt: skip
    return Section("explanations", "Explanations", values, ("explanation.json", "maps/"))


def _generated(document: dict[str, Any], unfit: list[str]) -> dict[str, Any]:
    """Scores on synthetic images whose lesion the generator drew; empty without any."""
    found = as_dict(document.get("generated"))
    if not found:
        return {}
    return {
        "n": found.get("n"), "trained_on": bool(found.get("trained_on")),
        "rows": _rows(found, unfit),
        "metrics": _metrics(document, as_dict(found.get("maps"))),
    }  # fmt: skip


def _rows(scored: dict[str, Any], unfit: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Name and scores of every map, and of the controls that it must beat."""
    maps, controls = as_dict(scored.get("maps")), as_dict(scored.get("controls"))
    named = {_named(name, unfit): scores for name, scores in maps.items()}
    named |= {f"{name} (control)": scores for name, scores in controls.items()}
    return [(name, as_dict(scores)) for name, scores in named.items()]


def _clearest(maps: dict[str, Any], unfit: list[str]) -> str:
    """The map with the highest energy ratio of those that passed the sanity checks."""

    def ratio(name: str) -> float:
        return finite(as_dict(as_dict(maps[name]).get("energy_ratio")).get("value")) or 0.0

    return max((name for name in maps if name not in unfit), key=ratio, default="")


def _shortcuts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Share of the evidence on burnt-in marks and on the border, per class and map."""
    return [
        {"class": label, "map": name, "border": scores.get("border"), "marks": scores.get("marks")}
        for label, maps in as_dict(document.get("by_class")).items()
        for name, scores in as_dict(maps).items()
        if as_dict(scores).get("border") or as_dict(scores).get("marks")
    ]


def _change(change: dict[str, Any], unfit: list[str]) -> dict[str, Any]:
    """The paired changes from one arm to the other as table rows; empty without a second arm."""
    rows = [
        {"map": _named(name, unfit), "class": label, "score": score, **as_dict(row)}
        for label, maps in {"": change.get("maps"), **as_dict(change.get("by_class"))}.items()
        for name, scores in as_dict(maps).items()
        for score, row in as_dict(scores).items()
        if (score in CHANGED)
        if not label or score in SHORTCUTS
    ]
    before, after = str(change.get("before", "")), str(change.get("after", ""))
    return (
        {
            "before": before,
            "after": after,
            "question": _question(before, after),
            "rows": [row for row in rows if not row["class"]],
            "by_class": [row for row in rows if row["class"]],
        }
        if rows
        else {}
    )


def _question(before: str, after: str) -> str:
    """What the comparison of two arms answers: of synthesis only where nothing else differs."""
    if before == BALANCED and after in SYNTHETIC:
        return "Did synthesis change where the model looks?"
    return f"Does the model of {after} look elsewhere than that of {before}?"


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
    parts = [as_dict(document.get(key)) for key in ("right_wrong", "by_class")]
    return [(k, as_dict(as_dict(maps).get(name))) for part in parts for k, maps in part.items()]
