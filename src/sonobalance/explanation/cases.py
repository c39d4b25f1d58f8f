"""The cases of `explanation.json`: chosen, drawn, and described in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sonobalance.explanation.gallery import Case, choose_cases, draw_case, file_name
from sonobalance.explanation.maps import GATE
from sonobalance.explanation.measure import Kept, in_original
from sonobalance.explanation.scoring import ScoreTable
from sonobalance.explanation.study import Study

SHOWN = ("grad-cam", GATE)
LEAST_GATE = 0.1


def pick_cases(study: Study) -> list[Case]:
    """The cases of a study, by the rule of `gallery.choose_cases`."""
    return choose_cases(
        study.labels, study.predicted, study.probabilities.max(1), ids=study.images.ids,
        classes=study.images.classes, per_class=study.settings.gallery_per_class,
    )  # fmt: skip


def write_case(
    study: Study, case: Case, kept: Kept, table: ScoreTable, folder: Path
) -> dict[str, Any]:
    """Draw one case into `folder`/maps and describe it as in `explanation.json`."""
    i, classes = case.index, study.images.classes
    key, label, predicted = study.images.ids[i], study.labels[i], study.predicted[i]
    explained = classes[study.explained[i]]
    maps = {
        f"{name}, evidence for {explained}" if name != GATE else name: in_original(
            study, i, kept[name][i]
        )
        for name in SHOWN
        if name in kept
    }
    image = f"maps/{file_name(key)}"
    text = {"Title": key, "Description": case.rule, "Source": f"layer {study.layer.name}"}
    draw_case(
        folder / image, study.originals[i], study.lesion(i), maps,
        least_peaks={GATE: LEAST_GATE}, text=text,
    )  # fmt: skip
    probabilities = dict(zip(classes, map(float, study.probabilities[i]), strict=True))
    return {
        "id": key,
        "label": classes[label],
        "predicted": classes[predicted],
        "correct": bool(label == predicted),
        "confidence": float(study.probabilities[i].max()),
        "probabilities": probabilities,
        "image": image,
        "alt": _alt(study, case, table, list(maps)),
        "rule": case.rule,
        "pointing_game": table.get("grad-cam", i, "pointing_game"),
        "energy": table.get("grad-cam", i, "energy"),
    }


def _alt(study: Study, case: Case, table: ScoreTable, titles: list[str]) -> str:
    """What the picture shows, for those who do not see it."""
    i, classes = case.index, study.images.classes
    said = (
        f"{study.images.ids[i]}: {classes[study.labels[i]]}, predicted "
        f"{classes[study.predicted[i]]} at {study.probabilities[i].max():.0%}. "
        f"From left to right: image, {', '.join(titles)}."
    )
    inside = table.get("grad-cam", i, "energy")
    if inside is None:
        return f"{said} No lesion is marked."
    return f"{said} {inside:.0%} of the Grad-CAM evidence lies in the lesion."
