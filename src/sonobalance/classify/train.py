"""Fine-tuning on a few hundred images: head first, then the network; the mean of both is kept."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from sonobalance.classify.epochs import steps_per_epoch
from sonobalance.classify.learner import alone
from sonobalance.classify.members import join, refit, second_of
from sonobalance.classify.record import class_counts, write_model
from sonobalance.classify.tuning import Material, forget, tune, write_stats
from sonobalance.classify.weights import has_lesion_head
from sonobalance.config import ClassifierSettings
from sonobalance.data.cleaning import cleaned, cleaning
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import InputError, SettingsError
from sonobalance.heap import large_blocks_kept
from sonobalance.parallel import Crew, launch


def train_classifier(
    train: LabelledImages,
    val: LabelledImages,
    settings: ClassifierSettings,
    *,
    seed: int,
    folder: Path,
    device: torch.device,
    synthetic: LabelledImages | None = None,
) -> Path:
    """Train one arm; killed at any point and called again, it ends with the same weights on a CPU.

    On a pretrained network the lesion head learns outlines for `outline_epochs` while the backbone
    waits. The class then gets its first head from a logistic regression on frozen features of the
    real images (or, from a random head, `head_epochs` for head and gates alone), then up to
    `epochs` for all but its first layers, with frozen batch statistics; as often as there are
    `members`; and the same for a `second_backbone`. The mean of all their logits, of those before
    fine-tuning, and of those of a `partner` that knows other images is kept.

    With `keep = best`, or without a first head, the head is last fitted anew on the tuned features,
    which counts as one more epoch, and the averaged weights of the epoch with the lowest
    temperature-scaled log-loss on VAL are kept: on a hundred images accuracy and F1 jump by chance,
    the log-loss does not, and scaling takes out mere over-confidence.

    With `devices` each batch is shared among that many processes, see `learner.learn`. They are
    spawned: a script that calls this keeps its own work under `if __name__ == "__main__"`.

    Args:
        train: real TRAIN images, at least one of each class.
        val: real VAL images; they fit the temperature and, with `keep = best`, choose the epoch and
            the end of the training, and nothing else.
        settings: backbone and recipe.
        seed: of weights, order, augmentation and dropout.
        folder: receives `weights.safetensors`, `model.json`, `stats.jsonl` (a second backbone's in
            `second/`), and `checkpoint.safetensors` while training.
        device: where to train; with `devices` its kind.
        synthetic: accepted synthetic images, added to TRAIN only.

    Returns:
        `folder`.

    Raises:
        InputError: no validation images, a class without training images, images of another size
            or other classes, or unusable weights.
        SettingsError: timm has no such backbone, or `devices` that cannot share the batches.
    """
    _check(train, val, settings, synthetic)
    settings = effective(settings, train)
    material = Material(train, val, synthetic)
    if settings.devices == 1:
        _train(material, settings, seed=seed, folder=folder, device=device)
        return folder
    check_shares(settings, len(train))
    folder.mkdir(parents=True, exist_ok=True)
    work = partial(
        _train_share, material=material, settings=settings, seed=seed, folder=folder,
        clean_marks=cleaning(),
    )  # fmt: skip
    launch(work, device, settings.devices)
    return folder


def _train_share(
    crew: Crew,
    device: torch.device,
    *,
    material: Material,
    settings: ClassifierSettings,
    seed: int,
    folder: Path,
    clean_marks: bool,
) -> None:
    """The work of one process of several, of which the first one alone leaves files."""
    with cleaned(clean_marks), crew.place(folder) as place:
        _train(material, settings, seed=seed, folder=place, device=device)


@large_blocks_kept()
def _train(
    material: Material,
    settings: ClassifierSettings,
    *,
    seed: int,
    folder: Path,
    device: torch.device,
) -> None:
    """The whole of `train_classifier` by effective settings."""
    learner = tune(material, settings, seed=seed, folder=folder, device=device)
    if settings.keep == "average":
        second, other = None, second_of(settings)
        if other is not None:
            second = tune(material, other, seed=seed, folder=folder / "second", device=device)
        join(learner, material, settings, seed=seed, second=second)
    elif learner.pretrained and settings.refit_head and learner.average.head is not None:
        refit(learner, material, settings)
    write_stats(folder, learner)
    write_model(
        learner, settings, train=material.train, val=material.val, synthetic=material.synthetic,
        seed=seed, folder=folder,
    )  # fmt: skip
    learner.crew.wait()  # another process may still have to read its checkpoint
    forget(folder)


def check_shares(settings: ClassifierSettings, size: int) -> None:
    """Every process must get an image of each batch, and no layer may need to see more than that.

    Raises:
        SettingsError: there are too many devices for `size` images, or no pretrained weights.
    """
    if not (settings.pretrained or settings.weights or settings.init):
        raise SettingsError(
            f"Expected pretrained weights to fine-tune on {settings.devices} devices, but got none:"
            " batch normalisation from scratch needs whole batches; give `classifier.weights`, or "
            "leave `classifier.devices` at 1."
        )
    least = size // steps_per_epoch(size, settings)
    if least < settings.devices:
        raise SettingsError(
            f"Expected `classifier.devices` to be at most {least}, the images of the smallest "
            f"batch, but got {settings.devices}."
        )


def effective(settings: ClassifierSettings, train: LabelledImages) -> ClassifierSettings:
    """The settings that can be followed: what asks for something that is not there is left out.

    No lesion attention, and no look at a lesion, where no training image has one to learn from,
    unless the classifier to start from has learnt outlines on other images. Without a fitted first
    head there is nothing to average with: the best epoch of one network is kept.

    Raises:
        SettingsError: a second backbone would have no outlines to learn while the first knows some.
    """
    pretrained = settings.pretrained or bool(settings.weights or settings.init)
    if not pretrained or settings.head_start == "random":
        settings = settings.model_copy(update={"keep": "best"})
    if settings.keep == "best":
        settings = alone(settings.model_copy(update={"members": 1}))
    taught = not settings.frozen and bool(train.known_outlines().masks.any())
    if taught:
        return settings
    if settings.lesion_attention and has_lesion_head(settings.init):
        if settings.second_backbone:
            raise SettingsError(
                "Expected TRAIN images with masks for a second backbone beside `classifier.init`, "
                "which has learnt outlines, but there are none; leave one of the two out, or set "
                "`classifier.no-lesion-attention`."
            )
        return settings
    return settings.model_copy(update={"lesion_attention": False, "zoom_on": "middle"})


def _check(
    train: LabelledImages,
    val: LabelledImages,
    settings: ClassifierSettings,
    synthetic: LabelledImages | None,
) -> None:
    if not len(val):
        raise InputError("Expected real images in VAL to fit the temperature, but there are none.")
    for part in (train, val) if synthetic is None else (train, val, synthetic):
        if part.classes != train.classes or part.pixels.shape[-1] != settings.image_size_px:
            raise InputError(
                f"Expected images of the classes {list(train.classes)} with side "
                f"{settings.image_size_px} px, but got {list(part.classes)} with side "
                f"{part.pixels.shape[-1]} px."
            )
    counts = class_counts(train)
    empty = [name for name, n in counts.items() if n == 0]
    if empty or len(counts) < 2:
        raise InputError(
            f"Expected at least two classes with a training image in each, but got {counts}."
        )
