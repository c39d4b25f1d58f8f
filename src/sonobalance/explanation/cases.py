"""The cases of `explanation.json`: chosen, drawn, and described in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonobalance.data.images import Gray, write_png
from sonobalance.evaluation.calibration import conformal_sets
from sonobalance.explanation.counterfactual import counterfactual
from sonobalance.explanation.examples import Known, Likeness
from sonobalance.explanation.gallery import (
    Case,
    choose_cases,
    outline,
    shown_size,
    stem,
    tinted,
)
from sonobalance.explanation.maps import GATE, SENTENCES
from sonobalance.explanation.measure import Kept, in_original
from sonobalance.explanation.scoring import ScoreTable
from sonobalance.explanation.study import Study
from sonobalance.gan.snapshot import Snapshot

LEAST_GATE = 0.1
AMPLIFIED, SILENCED = 1.1, 0.9


@dataclass(frozen=True)
class Facts:
    """What else a run knows about its images.

    Attributes:
        known: the images that the network learned from.
        cutoff: of the conformal sets, fitted on VAL.
        coverage: that the cutoff was fitted for, in (0, 1).
        snapshot: the run's generator, for counterfactual strips.
        strangeness: image id → out-of-distribution score in [0, 1) of `classify.stranger`.
    """

    known: Known | None = None
    cutoff: float | None = None
    coverage: float | None = None
    strangeness: Mapping[str, float] | None = None
    snapshot: Snapshot | None = None


@dataclass(frozen=True)
class Desk:
    """What cases are made from.

    Attributes:
        kept: map → position → (1, S, S) float32.
        table: scores of every map and image.
        facts: what else the run knows.
        likeness: the images against TRAIN, or None.
        folder: run folder; pictures go to `maps/` inside it.
    """

    kept: Kept
    table: ScoreTable
    facts: Facts
    likeness: Likeness | None
    folder: Path


def pick_cases(study: Study) -> list[Case]:
    """The cases of a study, by the rule of `gallery.choose_cases`."""
    return choose_cases(
        study.labels, study.predicted, study.probabilities.max(1), ids=study.images.ids,
        classes=study.images.classes, per_class=study.settings.gallery_per_class,
    )  # fmt: skip


def write_case(study: Study, case: Case, desk: Desk) -> dict[str, Any]:
    """Draw one case and describe it as in `explanation.json`."""
    i, classes = case.index, study.images.classes
    key, p = study.images.ids[i], study.probabilities[i]
    lesion, name = study.lesion(i), stem(study.images.ids[i])
    text = {"Title": key, "Description": case.rule}
    image = f"maps/{name}.png"
    write_png(desk.folder / image, shown_size(study.originals[i]), text)
    shown = [n for n in study.settings.gallery_maps if i in desk.kept.get(n, {})]
    panels = [_panel(study, i, n, desk) for n in shown]
    return {
        "id": key,
        "label": classes[study.labels[i]],
        "predicted": classes[study.predicted[i]],
        "explained": classes[study.explained[i]],
        "correct": bool(study.labels[i] == study.predicted[i]),
        "confidence": float(p.max()),
        "probabilities": dict(zip(classes, map(float, p), strict=True)),
        "set": _conformal_set(study, i, desk.facts),
        "strangeness": (desk.facts.strangeness or {}).get(key),
        "image": image,
        "alt": _alt(study, i),
        "outline": [] if lesion is None else outline(lesion),
        "panels": panels,
        "channels": _channels(study, i),
        "neighbours": [] if desk.likeness is None else desk.likeness.nearest(i),
        "counterfactual": _counterfactual(study, i, desk),
        "rule": case.rule,
    }


def _panel(study: Study, i: int, name: str, desk: Desk) -> dict[str, Any]:
    """One map over its image."""
    map_ = in_original(study, i, desk.kept[name][i])
    top = float(map_.max())
    peak = max(top, LEAST_GATE) if name == GATE else top
    path = f"maps/{stem(study.images.ids[i])}-{name.replace('+', 'p')}.png"
    picture: Gray = study.originals[i] if peak <= 0 else tinted(study.originals[i], map_, peak)
    text = {"Title": study.images.ids[i], "Description": f"{name} at layer {study.layer.name}"}
    write_png(desk.folder / path, shown_size(picture), text)
    inside, pointing = (desk.table.get(name, i, score) for score in ("energy", "pointing_game"))
    return {
        "map": name,
        "image": path,
        "peak": peak if peak > 0 else None,
        "energy": inside,
        "pointing_game": pointing,
        "alt": _panel_alt(study, i, name, peak, inside),
    }


def _panel_alt(study: Study, i: int, name: str, peak: float, inside: float | None) -> str:
    explained = study.images.classes[study.explained[i]]
    of = "The network's spatial attention" if name == GATE else f"Evidence for {explained}, {name}"
    if peak <= 0:
        return f"{of}: none anywhere."
    if inside is None:
        return f"{of}. {SENTENCES[name]}"
    return f"{of}: {inside:.0%} of it in the lesion."


def _counterfactual(study: Study, i: int, desk: Desk) -> dict[str, Any] | None:
    """The strip of a case, where there are a generator and TRAIN images it knows."""
    if desk.likeness is None or desk.facts.snapshot is None:
        return None
    made = counterfactual(study, i, desk.likeness, desk.facts.snapshot)
    if made is None:
        return None
    strip, told = made
    path = f"maps/{stem(study.images.ids[i])}-counterfactual.png"
    text = {"Title": f"Generated from {told['start']}", "Description": "experimental, synthetic"}
    write_png(desk.folder / path, strip, text)
    return told | {"image": path}


def _conformal_set(study: Study, i: int, facts: Facts) -> dict[str, Any] | None:
    if facts.cutoff is None:
        return None
    held = conformal_sets(study.probabilities[[i]], facts.cutoff)[0]
    names = [name for name, has in zip(study.images.classes, held, strict=True) if has]
    return {"classes": names, "coverage": facts.coverage}


def _channels(study: Study, i: int) -> dict[str, int] | None:
    """How many channels the last channel gate changes clearly for this image."""
    gates = study.channel_gates([i])
    if gates is None:
        return None
    return {
        "count": gates.shape[1],
        "amplified": int((gates > AMPLIFIED).sum()),
        "silenced": int((gates < SILENCED).sum()),
    }


def _alt(study: Study, i: int) -> str:
    """What the picture is, for those who do not see it."""
    classes, size = study.images.classes, study.originals[i].shape
    lesion = study.lesion(i)
    said = f"Ultrasound image {study.images.ids[i]}, {classes[study.labels[i]]}"
    if lesion is None:
        return f"{said}, no lesion marked."
    rows, columns = (np.flatnonzero(lesion.any(axis)) for axis in (1, 0))
    down, across = rows.mean() / size[0], columns.mean() / size[1]
    row = _third(down, "upper", "middle", "lower")
    column = _third(across, "left", "centre", "right")
    return f"{said}; the lesion, {lesion.mean():.0%} of the image, lies in the {row} {column}."


def _third(share: float, *names: str) -> str:
    return names[min(2, int(3 * share))]


def pictures_of(cases: Sequence[Mapping[str, Any]]) -> set[str]:
    """File names of every picture that the cases show."""
    paths = [case["image"] for case in cases]
    paths += [panel["image"] for case in cases for panel in case["panels"]]
    paths += [case["counterfactual"]["image"] for case in cases if case.get("counterfactual")]
    return {Path(path).name for path in paths}
