"""From a model and images to `explanation.json` and `maps/`.

Shape of the document, with SCORES = {SCORE: {"value", "low", "high", "chance"}}:

    classes, n, n_with_mask, groups, target, target_layer
    maps           {MAP: SCORES}                  lesion scores on images with a mask, `border` on
                                                  all, `marks` on images with burnt-in marks
    map_info       {MAP: {sentence, n, fit}}      fit: false where the sanity check failed
    controls       {"random" | "centre": SCORES}  what any map must beat
    by_class       {CLASS: {MAP: SCORES}}         by true class
    right_wrong    {"right" | "wrong": {MAP: SCORES}}
    faithfulness   {MAP: {"deletion_blur" ...: {"value", "low", "high"}}}   > 0 = faithful
    curves         {MAP: {"deletion_blur" ...: {"share", "map", "random"}}}
    sanity         {MAP: {stages, fit, sentence}}
    metrics        [{name, higher_is_better, sentence}]
    before_after   {against, maps: {MAP: {SCORE: {difference, low, high, verdict}}}} or null:
                   this model less the rival, on the same images
    cases          [{id, label, predicted, correct, confidence, probabilities, image, alt, rule,
                     pointing_game, energy}]
    settings, seed

`maps/scores.csv` has every single score behind the means.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sonobalance.classify.networks import TargetLayer
from sonobalance.config import ExplanationSettings
from sonobalance.data.images import Gray, Mask
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.explanation.cases import pick_cases, write_case
from sonobalance.explanation.dependence import faithfulness_of, passes
from sonobalance.explanation.layers import Layer, layer_of
from sonobalance.explanation.maps import HEAVY, SENTENCES, probabilities_of
from sonobalance.explanation.measure import (
    CHEAP_PASSES,
    CONTROLS,
    HEAVY_PASSES,
    measure_cheap,
    measure_heavy,
)
from sonobalance.explanation.rival import Rival, compared
from sonobalance.explanation.sanity import cascade
from sonobalance.explanation.scoring import LINE_COLUMNS, ScoreTable, score_infos
from sonobalance.explanation.study import Study, check_lists
from sonobalance.files import write_text
from sonobalance.progress import bar

CASE_PASSES = 5
SANITY_PASSES = 20


def explain_images(  # noqa: PLR0917
    model: nn.Module,
    target_layer: Layer | TargetLayer | tuple[str, nn.Module],
    images: LabelledImages,
    originals: Sequence[Gray],
    masks: Sequence[Mask | None],
    groups: Sequence[str],
    settings: ExplanationSettings,
    *,
    seed: int,
    folder: Path,
    probabilities: NDArray[np.float64] | None = None,
    marks: Sequence[Mask | None] | None = None,
    rival: Rival | None = None,
    title: str = "explaining",
) -> dict[str, Any]:
    """Map the evidence of a model's decisions, measure the maps, and draw chosen cases.

    Args:
        model: (N, 1, S, S) float32 in [-1, 1] → (N, K) logits.
        target_layer: the last spatial feature map: a classifier's `target_layer`, or a name and
            any module of the model with an (N, C, h, w) output.
        images: the letterboxed images, usually of TEST.
        originals: N images (H, W) uint8 in their own sizes.
        masks: N lesions (H, W) bool, None where there is none.
        groups: N groups; images of one group are not independent.
        settings: what to map, and on how many images.
        seed: seed of samples and controls.
        folder: run folder; `maps/` is written inside it.
        probabilities: (N, K) what the run predicts for the images, calibrated and averaged as it
            may be, so that the gallery says what the predictions say; None: the model's softmax.
        marks: N burnt-in marks (H, W) bool, None where there are none.
        rival: another arm's model to compare with on the same images.
        title: name of the progress bar.

    Returns:
        The document described at the head of this file.

    Raises:
        InputError: the lists do not fit together, or the logits do not depend on the layer.
    """
    marks = [None] * len(images) if marks is None else marks
    check_lists(
        images, originals, masks=masks, marks=marks, groups=groups, probabilities=probabilities
    )
    if probabilities is None:
        p = probabilities_of(model, to_unit(images.pixels), settings.batch_size)
        probabilities = p.double().numpy()
    study = Study(
        model, layer_of(target_layer), images, originals, masks, marks,
        np.asarray(groups, np.str_), probabilities, settings, seed,
    )  # fmt: skip
    table = ScoreTable()
    parts = _measure(study, table, folder, title, rival)
    _forget_others(folder / "maps", {Path(case["image"]).name for case in parts["cases"]})
    _write_scores(study, table, folder / "maps" / "scores.csv")
    return _head(study) | _means(study, table, parts["sanity"]) | parts | _tail(study)


def _measure(
    study: Study, table: ScoreTable, folder: Path, title: str, rival: Rival | None
) -> dict[str, Any]:
    """Everything that needs the model, under one progress bar."""
    settings, cases = study.settings, pick_cases(study)
    heavy = study.sample(settings.heavy_images, "heavy", with_lesion=True)
    followed = study.sample(settings.faithfulness_images, "faithfulness")
    shaken = study.sample(settings.sanity_images, "sanity")
    total = (
        CHEAP_PASSES * len(study) * (1 if rival is None else 2)
        + HEAVY_PASSES * len(HEAVY) * len(heavy)
        + passes(study, len(followed)) + SANITY_PASSES * len(shaken)
        + CASE_PASSES * len(cases)
    )  # fmt: skip
    with bar(title, total) as shown:
        kept = measure_cheap(study, table, {*followed, *(c.index for c in cases)}, shown)
        change = None if rival is None else compared(study, table, rival, shown)
        measure_heavy(study, table, heavy, shown)
        faithfulness, curves = faithfulness_of(study, kept, followed, shown)
        sanity = {}
        if shaken:
            inputs = study.inputs(shaken)
            sanity = cascade(study.model, study.layer, *inputs, seed=study.seed, cost=study.cost)
            shown.advance(SANITY_PASSES * len(shaken), "weight randomisation")
        drawn = []
        for case in cases:
            drawn.append(write_case(study, case, kept, table, folder))
            shown.advance(CASE_PASSES, "gallery")
    return {
        "before_after": change, "faithfulness": faithfulness, "curves": curves,
        "sanity": sanity, "cases": drawn,
    }  # fmt: skip


def _head(study: Study) -> dict[str, Any]:
    return {
        "classes": list(study.images.classes),
        "n": len(study),
        "n_with_mask": sum(study.lesion(i) is not None for i in range(len(study))),
        "groups": len(np.unique(study.groups)),
        "target": study.settings.target,
        "target_layer": study.layer.name,
    }


def _means(study: Study, table: ScoreTable, sanity: dict[str, Any]) -> dict[str, Any]:
    """The scores' means: over all images, by true class, and for right and wrong decisions."""
    names = [name for name in table.rows if name not in CONTROLS]
    classes = {name: study.labels == k for k, name in enumerate(study.images.classes)}
    right = study.labels == study.predicted

    def over(keep: Any) -> dict[str, Any]:
        found = {name: table.summary(name, study, keep) for name in names}
        return {name: scores for name, scores in found.items() if scores}

    return {
        "maps": over(None),
        "map_info": {
            name: {
                "sentence": SENTENCES[name],
                "n": len(table.images(name, "pointing_game")),
                "fit": sanity[name]["fit"] if name in sanity else None,
            }
            for name in names
        },
        "controls": {n: table.summary(n, study) for n in CONTROLS if n in table.rows},
        "by_class": {name: found for name, keep in classes.items() if (found := over(keep))},
        "right_wrong": {"right": over(right), "wrong": over(~right)},
        "metrics": score_infos(),
    }


def _tail(study: Study) -> dict[str, Any]:
    return {"settings": study.settings.model_dump(mode="json"), "seed": study.seed}


def _forget_others(folder: Path, drawn: set[str]) -> None:
    """Delete the pictures of an earlier explanation in the same folder."""
    for path in folder.glob("*.png"):
        if path.name not in drawn:
            path.unlink()


def _write_scores(study: Study, table: ScoreTable, path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(LINE_COLUMNS)
    writer.writerows(table.lines(study))
    write_text(path, text.getvalue())
