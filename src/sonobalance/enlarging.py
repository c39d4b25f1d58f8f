"""How synthetic images reach the side at which a classifier sees them."""

from __future__ import annotations

from pathlib import Path

import torch

from sonobalance.artefacts import LARGE, as_seen
from sonobalance.classify.features import features_name
from sonobalance.config import Settings
from sonobalance.data.images import write_png
from sonobalance.data.loading import LabelledImages, load_images
from sonobalance.files import remove
from sonobalance.gan.features import eyes_of
from sonobalance.gan.snapshot import hash_images
from sonobalance.randomness import derive
from sonobalance.synthesis.enlarger import (
    ENLARGER,
    Enlarger,
    enlarged,
    learn_enlarger,
    load_enlarger,
    save_enlarger,
)
from sonobalance.synthesis.regenerate import text_of
from sonobalance.synthesis.summary import training_images

METHOD = "3"  # changes with how an enlarger is learnt, so that none of another way is taken over


def enlarges(settings: Settings) -> bool:
    """Whether an enlarger is learnt.

    It is not where the classifier sees no larger images, without pretrained weights (pixels alone
    teach soft edges), and where `synthesis.enlarger_kimg` is 0.
    """
    classifier = settings.classifier
    larger = classifier.image_size_px > settings.gan.image_size_px
    return larger and classifier.weights is not None and settings.synthesis.enlarger_kimg > 0


def learnt_enlarger(
    folder: Path,
    settings: Settings,
    small: LabelledImages,
    large: LabelledImages,
    device: torch.device,
) -> Enlarger | None:
    """The enlarger of a synthesis, learnt now unless it was already.

    Args:
        folder: of the synthesis; keeps it.
        settings: sides, weights, seed, and for how long it learns.
        small: real TRAIN images at the generator's side.
        large: the same at the classifier's side.
        device: where it learns.

    Returns:
        None where nothing `enlarges`, or plain resampling is no worse.
    """
    path = folder / ENLARGER
    side = settings.classifier.image_size_px
    eyes = eyes_of(settings, side) if enlarges(settings) else None
    if eyes is None:
        path.unlink(missing_ok=True)
        return None
    name = _name(settings, small, large)
    if path.is_file() and (known := load_enlarger(path, device)).name == name:
        return known
    enlarger = learn_enlarger(
        small, large, eyes.to(device).native, kimg=settings.synthesis.enlarger_kimg,
        seed=settings.seed, name=name, device=device,
    )  # fmt: skip
    if enlarger is None:
        path.unlink(missing_ok=True)
    else:
        save_enlarger(path, enlarger)
    return enlarger


def write_enlarged(folder: Path, enlarger: Enlarger | None) -> None:
    """Every accepted image of a synthesis once more, `LARGE`/<class>/<id>.png, with provenance."""
    remove(folder / LARGE)
    if enlarger is None:
        return
    (folder / LARGE).mkdir()
    accepted = training_images(folder, every_round=True)
    large = as_seen(accepted)
    images = load_images(accepted, enlarger.small, accepted.classes, "enlarging")
    made = enlarged(images, enlarger, batch_size=1).pixels  # `regenerate` makes one alone
    for drawn, record, pixels in zip(accepted, large, made, strict=True):
        text = text_of(accepted.file(drawn)) | {"enlarger": enlarger.name}
        write_png(large.file(record), pixels[0].numpy(), text)


def _name(settings: Settings, small: LabelledImages, large: LabelledImages) -> str:
    """Changes with everything that the enlarger depends on."""
    classifier = settings.classifier
    parts = (
        METHOD, hash_images(small), hash_images(large), str(settings.synthesis.enlarger_kimg),
        features_name(classifier.backbone, classifier.weights),
    )  # fmt: skip
    return f"{derive(settings.seed, *parts):016x}"
