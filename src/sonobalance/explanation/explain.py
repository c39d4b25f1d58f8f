"""From a model and images to `explanation.json` and `maps/`.

Shape of the document, with SCORES = {SCORE: {"value", "low", "high", "chance"}}:

    classes, n, n_with_mask, groups, target, mirror
    target_layer, fine_layers                     where class activation maps look
    maps           {MAP: SCORES}                  lesion scores on images with a mask, `border` on
                                                  all, `marks` on images with burnt-in marks
    map_info       {MAP: {sentence, n, fit}}      fit: false where a sanity check failed
    controls       {"random" | "centre" | "contrast": SCORES}   what any map must beat
    by_class       {CLASS: {MAP: SCORES}}         by true class
    right_wrong    {"right" | "wrong": {MAP: SCORES}}
    faithfulness   {MAP: {"deletion_blur" ...: {"value", "low", "high"}}}   > 0 = faithful
    sensitivity    {MAP: {"deletion" | "insertion": see `dependence.sensitivity`}}
    curves         {MAP: {"deletion_blur" ...: {"share", "map", "random"}}}
    sanity         {MAP: {stages, chance, fit, sentence, labels}}   labels: see `relabel`, or null
    metrics        [{name, higher_is_better, sentence}]
    before_after   see `rival.compared`, or null
    examples       see `examples.agreement`, or null
    cases          [see `cases.write_case`]
    settings, seed

The stage adds `arm` and `generated`: see `generated.on_generated`, or null.

`maps/scores.csv` has every single score behind the means.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sonobalance.classify.layout import TargetLayer
from sonobalance.config import ExplanationSettings
from sonobalance.data.images import Gray, Mask
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.explanation.attributions import HEAVY
from sonobalance.explanation.cases import Desk, Facts, pick_cases, pictures_of, write_case
from sonobalance.explanation.dependence import Found, faithfulness_of, passes
from sonobalance.explanation.examples import agreement, likeness
from sonobalance.explanation.layers import Layer, fine_layers, layer_of
from sonobalance.explanation.maps import SENTENCES, probabilities_of
from sonobalance.explanation.measure import (
    CHEAP_PASSES,
    CONTROLS,
    HEAVY_PASSES,
    Kept,
    measure_cheap,
    measure_heavy,
)
from sonobalance.explanation.relabel import label_check
from sonobalance.explanation.rival import Rival, compared
from sonobalance.explanation.sanity import cascade
from sonobalance.explanation.scoring import LINE_COLUMNS, ScoreTable, score_infos
from sonobalance.explanation.study import Study, check_lists
from sonobalance.files import write_csv
from sonobalance.progress import Bar, bar

CASE_PASSES = 5
SANITY_PASSES = 200
NOTHING = Facts()


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
    arm: str = "",
    facts: Facts = NOTHING,
    mirror: bool = False,
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
        arm: name of the explained arm.
        facts: what else is known: TRAIN images, conformal cutoff, strangeness.
        mirror: whether probabilities are means over an image and its mirror; maps are then, too.
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
        np.asarray(groups, np.str_), probabilities, settings, seed, mirror,
    )  # fmt: skip
    table = ScoreTable()
    parts = _measure(study, table, facts, rival, arm, folder=folder, title=title)
    _forget_others(folder / "maps", pictures_of(parts["cases"]))
    write_csv(folder / "maps" / "scores.csv", LINE_COLUMNS, table.lines(study))
    return _head(study) | _means(study, table, parts["sanity"]) | parts | _tail(study)


def _measure(
    study: Study,
    table: ScoreTable,
    facts: Facts,
    rival: Rival | None,
    arm: str,
    *,
    folder: Path,
    title: str,
) -> dict[str, Any]:
    """Everything that needs the model, under one progress bar."""
    settings, cases = study.settings, pick_cases(study)
    heavy = study.sample(settings.heavy_images, "heavy", with_lesion=True)
    followed = _followed(study)
    shaken = study.sample(settings.sanity_images, "sanity")
    total = (
        CHEAP_PASSES * len(study) * (1 if rival is None else 2)
        + HEAVY_PASSES * len(HEAVY) * len(heavy)
        + passes(study, len(followed), len(settings.faithfulness_maps))
        + SANITY_PASSES * len(shaken) + CASE_PASSES * len(cases)
    )  # fmt: skip
    with bar(title, total) as shown:
        kept = measure_cheap(study, table, {*followed, *(c.index for c in cases)}, shown)
        change = None if rival is None else compared(study, table, rival, arm, shown)
        costly = measure_heavy(study, table, heavy, shown)
        dependence = _dependence(study, kept, costly, shown)
        sanity = _sanity(study, shaken, facts)
        shown.advance(SANITY_PASSES * len(shaken), "sanity checks")
        found = None if facts.known is None else likeness(study, facts.known)
        desk = Desk(kept | costly, table, facts, found, folder)
        drawn = []
        for case in cases:
            drawn.append(write_case(study, case, desk))
            shown.advance(CASE_PASSES, "gallery")
    return {
        "before_after": change, **dependence, "sanity": sanity,
        "examples": None if found is None else agreement(study, found), "cases": drawn,
    }  # fmt: skip


def _followed(study: Study) -> list[int]:
    return study.sample(study.settings.faithfulness_images, "faithfulness")


def _dependence(study: Study, kept: Kept, costly: Kept, shown: Bar) -> dict[str, Found]:
    """Faithfulness of the cheap maps on one sample, and of the costly ones on theirs."""
    wanted, sample = study.settings.faithfulness_maps, _followed(study)
    heavy = sorted(next(iter(costly.values()), {}))
    cheap = [name for name in wanted if name not in HEAVY]
    first = faithfulness_of(study, kept, cheap, sample, shown)
    second = faithfulness_of(study, costly, [n for n in wanted if n in HEAVY], heavy, shown)
    keys = ("faithfulness", "curves", "sensitivity")
    return {key: a | b for key, a, b in zip(keys, first, second, strict=True)}


def _sanity(study: Study, sample: Sequence[int], facts: Facts) -> dict[str, Any]:
    """Random weights and, where TRAIN images are at hand, shuffled labels."""
    if not sample:
        return {}
    heavy = HEAVY if study.settings.heavy_images else ()
    found = cascade(
        study.model, study.layer, study.inputs(sample), seed=study.seed, cost=study.cost_of_checks,
        heavy=heavy,
    )  # fmt: skip
    train = None if facts.known is None else facts.known.real
    if train is None or not study.settings.relabelled_images:
        return {name: result | {"labels": None} for name, result in found.items()}
    labels = label_check(study, train, sample, heavy)
    return {
        name: result | {"labels": labels[name], "fit": result["fit"] and labels[name]["fit"]}
        for name, result in found.items()
    }


def _head(study: Study) -> dict[str, Any]:
    return {
        "classes": list(study.images.classes),
        "n": len(study),
        "n_with_mask": sum(study.lesion(i) is not None for i in range(len(study))),
        "groups": len(np.unique(study.groups)),
        "target": study.settings.target,
        "target_layer": study.layer.name,
        "fine_layers": [
            layer.name for layer in fine_layers(study.model, study.images.pixels.shape[-1])
        ],
        "mirror": study.mirror,
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
