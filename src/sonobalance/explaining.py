"""What the stage `explain` gathers from a run: models, TEST images, masks, marks, TRAIN images."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from sonobalance.arms import TREATMENTS
from sonobalance.artefacts import as_seen, device_of, splits_of, synthetic_of, trained_arms
from sonobalance.classify.colour import colours_of
from sonobalance.classify.features import model_features
from sonobalance.classify.predict import Predictor
from sonobalance.classify.stranger import LEAST_TRAIN, LEAST_VAL, stranger_of
from sonobalance.config import Arm
from sonobalance.data.images import Gray, Mask, read_gray, read_mask
from sonobalance.data.loading import INSIDE, LabelledImages, load_images
from sonobalance.data.manifest import Manifest
from sonobalance.data.split import Splits
from sonobalance.errors import InputError
from sonobalance.evaluation.calibration import conformal_cutoff
from sonobalance.evaluation.predictions import arm_predictions, read_predictions
from sonobalance.explanation.cases import Facts
from sonobalance.explanation.examples import Known
from sonobalance.explanation.explain import explain_images
from sonobalance.explanation.generated import on_generated
from sonobalance.explanation.layers import layer_of
from sonobalance.explanation.marks import read_marks
from sonobalance.explanation.rival import Rival
from sonobalance.files import read_json
from sonobalance.gan.snapshot import Snapshot, read_snapshot
from sonobalance.randomness import numpy_generator
from sonobalance.runs import Run
from sonobalance.synthesis.masks import MASKS, with_masks
from sonobalance.synthesis.summary import training_images

SNAPSHOT = "gan/snapshot.safetensors"
ORDER = tuple(TREATMENTS)


def explain_run(run: Run) -> dict[str, Any]:
    """Explain the chosen arm on TEST, beside the arm it is compared with; writes `maps/`."""
    splits = splits_of(run)
    test = splits.of("test")
    arm = read_json(run.path("classifier/arms.json"))["chosen"]
    predictor = Predictor.load(run.path(f"classifier/{arm}"), device_of(run))
    originals, masks = originals_of(test)
    images = load_images(test, predictor.image_size_px, predictor.classes, "TEST")
    found = explain_images(
        predictor.model, predictor.model.target_layer, images, originals, masks,
        [splits.group[r.id] for r in test], run.settings.explanation,
        seed=run.settings.seed, folder=run.folder, probabilities=predictor.probabilities(images),
        marks=read_marks(run.path("marks.csv"), images.ids, [image.shape for image in originals]),
        rival=rival_of(run, arm, images), arm=arm,
        facts=facts_of(run, splits, arm, predictor, images),
        mirror=predictor.mirror,
    )  # fmt: skip
    return {"arm": arm, **found, "generated": _on_generated(run, arm, predictor)}


def _on_generated(run: Run, arm: Arm, predictor: Predictor) -> dict[str, Any] | None:
    """Scores on accepted synthetic images; None without images whose lesion the generator drew."""
    folder, settings, seed = run.path("synthesis"), run.settings.explanation, run.settings.seed
    if not (folder / MASKS).is_dir():
        return None
    accepted = as_seen(with_masks(training_images(folder, every_round=True)))
    order = numpy_generator(seed, "explain", "generated").permutation(len(accepted))
    shuffled = (accepted.records[i] for i in order)
    with_lesion = (r.id for r in shuffled if _has_lesion(accepted.mask_files(r)))
    drawn = accepted.select(islice(with_lesion, settings.generated_images))
    if not len(drawn):
        return None
    images = load_images(
        drawn, predictor.image_size_px, predictor.classes, "synthetic images", outlines=True
    )
    found = on_generated(
        predictor.model, layer_of(predictor.model.target_layer), images,
        predictor.probabilities(images), settings, seed=seed, mirror=predictor.mirror,
    )  # fmt: skip
    return {"trained_on": TREATMENTS[arm].objective is not None, **found}


def _has_lesion(masks: Sequence[Path]) -> bool:
    """Whether there is a mask that marks some pixels and not all."""
    drawn = [read_gray(mask) > INSIDE for mask in masks]
    return any(mask.any() and not mask.all() for mask in drawn)


def originals_of(images: Manifest) -> tuple[list[Gray], list[Mask | None]]:
    """Every image (H, W) uint8 in its own size, and its lesion (H, W) bool where one is marked."""
    originals = [read_gray(images.file(r), r.frame) for r in images]
    masks = [
        read_mask(images.mask_files(r), image.shape[0], image.shape[1], r.frame)
        if r.masks
        else None
        for r, image in zip(images, originals, strict=True)
    ]
    return originals, masks


def rival_of(run: Run, arm: Arm, images: LabelledImages) -> Rival | None:
    """The model that the explained one is compared with; None for a run of one arm.

    It is `over-sampling`, which differs from an arm with synthetic images by these images alone;
    beside that arm itself, one that adds images. Which comes before is the order of `TREATMENTS`.
    """
    name = _other(arm, trained_arms(run))
    if name is None:
        return None
    other = Predictor.load(run.path(f"classifier/{name}"), device_of(run))
    return Rival(
        name, other.model, layer_of(other.model.target_layer), other.probabilities(images),
        after=ORDER.index(name) > ORDER.index(arm),
    )  # fmt: skip


def _other(arm: Arm, arms: Sequence[Arm]) -> Arm | None:
    def rank(name: Arm) -> tuple[bool, ...]:
        alike = TREATMENTS[name].adds_images == TREATMENTS[arm].adds_images
        return name != "over-sampling", alike, name not in {"dual-iterative", "none"}

    return min((name for name in arms if name != arm), key=rank, default=None)


def facts_of(
    run: Run, splits: Splits, arm: Arm, predictor: Predictor, images: LabelledImages
) -> Facts:
    """TRAIN images, accepted synthetic ones, what VAL fits, and how strange the images are."""
    size, classes = predictor.image_size_px, predictor.classes
    table = read_predictions(run.path("predictions.csv"))
    val, coverage = arm_predictions(table, arm, "val"), run.settings.evaluation.coverage
    cutoff = conformal_cutoff(val.targets, val.probabilities, coverage) if len(val) else None
    train = load_images(splits.of("train"), size, classes, "TRAIN")
    return Facts(
        Known(train, synthetic_of(run, arm, size, classes)), cutoff, coverage,
        strangeness=_strangeness(splits, predictor, train, images),
        snapshot=_generator(run),
    )  # fmt: skip


def _generator(run: Run) -> Snapshot | None:
    """The run's generator; None without one of this version, as strips are only an extra."""
    try:
        return read_snapshot(run.path(SNAPSHOT), device_of(run))
    except InputError:
        return None


def _strangeness(
    splits: Splits, predictor: Predictor, train: LabelledImages, images: LabelledImages
) -> dict[str, float]:
    """Image id → out-of-distribution score, or nothing where TRAIN or VAL is too small for one."""
    size = predictor.image_size_px
    val = load_images(splits.of("val"), size, predictor.classes, "VAL")
    if len(train) < LEAST_TRAIN or len(val) < LEAST_VAL:
        return {}
    colours = {part: colours_of(splits.of(part)) for part in ("val", "test")}
    features = model_features(predictor.model, images, image_size_px=size)
    stranger = stranger_of(predictor, train, val, colours["val"])
    scores = stranger.scores(features, images.pixels, colours["test"])
    return dict(zip(images.ids, map(float, scores), strict=True))
