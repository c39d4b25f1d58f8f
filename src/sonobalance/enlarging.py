"""How the synthetic images of a run reach the side at which its classifier sees them."""

from __future__ import annotations

from sonobalance.artefacts import LARGE, as_seen, device_of, eyes_of
from sonobalance.classify.features import features_name
from sonobalance.config import Settings
from sonobalance.data.images import write_png
from sonobalance.data.loading import LabelledImages, load_images
from sonobalance.gan.snapshot import hash_images
from sonobalance.randomness import derive
from sonobalance.runs import Run, remove
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

FILE = f"synthesis/{ENLARGER}"


def enlarges(settings: Settings) -> bool:
    """Whether a run learns an enlarger.

    It does not where the classifier sees no larger images, without pretrained weights (pixels alone
    teach soft edges), and where `synthesis.enlarger_kimg` is 0.
    """
    classifier = settings.classifier
    larger = classifier.image_size_px > settings.gan.image_size_px
    return larger and classifier.weights is not None and settings.synthesis.enlarger_kimg > 0


def learnt_enlarger(run: Run, small: LabelledImages, large: LabelledImages) -> Enlarger | None:
    """The run's enlarger, learnt now unless it was already.

    Args:
        run: for its settings and folder.
        small: real TRAIN images at the generator's side.
        large: the same at the classifier's side.

    Returns:
        None where the run `enlarges` nothing.
    """
    path, device = run.path(FILE), device_of(run)
    eyes = eyes_of(run) if enlarges(run.settings) else None
    if eyes is None:
        path.unlink(missing_ok=True)
        return None
    name = _name(run, small, large)
    if path.is_file() and (known := load_enlarger(path, device)).name == name:
        return known
    enlarger = learn_enlarger(
        small, large, eyes.to(device).native, kimg=run.settings.synthesis.enlarger_kimg,
        seed=run.settings.seed, name=name, device=device,
    )  # fmt: skip
    save_enlarger(path, enlarger)
    return enlarger


def write_enlarged(run: Run, enlarger: Enlarger | None) -> None:
    """Every accepted image at the larger side, `LARGE`/<class>/<id>.png, with its provenance."""
    folder = run.path("synthesis")
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


def _name(run: Run, small: LabelledImages, large: LabelledImages) -> str:
    """Changes with everything that the enlarger depends on."""
    classifier = run.settings.classifier
    parts = (
        hash_images(small), hash_images(large), str(run.settings.synthesis.enlarger_kimg),
        features_name(classifier.backbone, classifier.weights),
    )  # fmt: skip
    return f"{derive(run.settings.seed, *parts):016x}"
