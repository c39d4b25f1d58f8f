"""From a finished run to the files of a bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.artefacts import splits_of, trained_arms, was_cleaned
from sonobalance.chain import check_chain
from sonobalance.classify.colour import colours_of
from sonobalance.classify.features import model_features
from sonobalance.classify.predict import Predictor
from sonobalance.classify.stranger import LEAST_TRAIN, LEAST_VAL, fit_stranger
from sonobalance.data.cleaning import cleaned
from sonobalance.data.guard import reading_only
from sonobalance.data.loading import load_images
from sonobalance.deployment.archive import (
    CARD,
    DESCRIPTION,
    GOLDEN,
    SUMS,
    WEIGHTS,
    check_new,
    sums_of,
    write_bundle,
)
from sonobalance.deployment.card import model_card
from sonobalance.deployment.describe import Identity, describe
from sonobalance.deployment.examples import FILE as EXAMPLES
from sonobalance.deployment.examples import write_examples
from sonobalance.deployment.golden import draw_golden, expect
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.deployment.reference import FILE as REFERENCE
from sonobalance.deployment.reference import reference_of, write_reference
from sonobalance.deployment.strangers import FILE as STRANGER
from sonobalance.deployment.strangers import write_stranger
from sonobalance.errors import InputError
from sonobalance.files import read_json
from sonobalance.runs import Run

if TYPE_CHECKING:
    from sonobalance.data.loading import LabelledImages


def bundle_run(run: Run, out: Path, identity: Identity, *, arm: str, examples: bool) -> Path:
    """Write the bundle of one arm of a finished run as folder and ZIP.

    Args:
        run: evaluated.
        out: the folder; `out`.zip is written beside it.
        identity: what the run does not know.
        arm: empty is the arm that was chosen on VAL.
        examples: put small TRAIN images into the bundle; the owner of the data must allow it.

    Raises:
        InputError: the run is not evaluated, has no such arm, or `out` exists or is unwritable.
        StaleError: the parts changed since, or what the model learnt from.
    """
    chosen = _arm(run, arm)
    check_new(out)
    check_chain(run, ("classifier/arms.json", "evaluation.json"))
    splits, predictor = splits_of(run), Predictor.load(run.path(f"classifier/{chosen}"))
    with cleaned(was_cleaned(run, "train")), reading_only(splits.of("train"), splits.of("val")):
        train, val = (
            load_images(splits.of(part), predictor.image_size_px, predictor.classes, part.upper())
            for part in ("train", "val")
        )
        colours = colours_of(splits.of("val"))
    evaluation = read_json(run.path("evaluation.json"))
    known = _known(predictor, train, val, colours)
    description = describe(run, splits, predictor.description, evaluation, identity,
                           arm=chosen, examples=examples, refuses=STRANGER in known)  # fmt: skip
    files = {
        DESCRIPTION: _json(description.model_dump(mode="json")),
        WEIGHTS: run.path(f"classifier/{chosen}/weights.safetensors").read_bytes(),
        CARD: model_card(description).encode(),
        **known,
    }
    if examples:
        files[EXAMPLES] = write_examples(train)
    return write_bundle(out, with_golden(files, out))


def with_golden(files: Mapping[str, bytes], path: Path) -> dict[str, bytes]:
    """The files of a bundle with phantoms and what its model says about them."""
    images = draw_golden()
    whole = {**files, **images, GOLDEN: b"{}"}
    predictor = BundlePredictor.of_files(whole | {SUMS: sums_of(whole)}, path)
    return whole | {GOLDEN: _json(expect(predictor, images))}


def _arm(run: Run, wanted: str) -> str:
    for name in ("classifier/arms.json", "evaluation.json"):
        if not run.path(name).is_file():
            raise InputError(
                f"Expected {run.path(name)} before a bundle is made, but it is missing; finish the "
                "run first."
            )
    arm = wanted or str(read_json(run.path("classifier/arms.json"))["chosen"])
    if arm not in trained_arms(run):
        raise InputError(
            f"Expected the arm to be one of {', '.join(trained_arms(run))}, but got {arm!r}."
        )
    return arm


def _known(
    predictor: Predictor,
    train: LabelledImages,
    val: LabelledImages,
    val_colour: NDArray[np.float64],
) -> dict[str, bytes]:
    """Files for nearest examples and, where there are images enough, for refusals."""
    seen, unseen = (
        model_features(predictor.model, part, image_size_px=predictor.image_size_px)
        for part in (train, val)
    )
    files = {REFERENCE: write_reference(reference_of(seen, np.asarray(train.targets)))}
    if len(train) >= LEAST_TRAIN and len(val) >= LEAST_VAL:
        stranger = fit_stranger(seen, train.pixels, unseen, val.pixels, val_colour)
        files[STRANGER] = write_stranger(stranger)
    return files


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
