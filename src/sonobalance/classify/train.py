"""Fine-tuning on a few hundred images: head first, then the network, the best epoch kept."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from sonobalance.classify.learner import (
    Learner,
    fingerprint_of,
    fit_head,
    learn,
    network,
    new_learner,
    next_member,
    restore_learner,
    save_learner,
    start_head,
    weights_of,
)
from sonobalance.classify.objective import epoch_order, image_weights
from sonobalance.classify.predict import model_logits
from sonobalance.classify.record import class_counts, scores, write_model
from sonobalance.classify.schedule import PARTS, cosine_factor, set_rates, training_mode
from sonobalance.classify.temperature import fit_temperature, mean_log_loss
from sonobalance.classify.weights import has_lesion_head
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import InputError
from sonobalance.files import write_text
from sonobalance.precision import Precision, arithmetic
from sonobalance.progress import Bar, bar


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
    `epochs` for all but its first layers, with frozen batch statistics; so often as there are
    `members`. The mean of all their logits and of those before fine-tuning is kept.

    With `keep = best`, or without a first head, the head is last fitted anew on the tuned features,
    which counts as one more epoch, and the averaged weights of the epoch with the lowest
    temperature-scaled log-loss on VAL are kept: on a hundred images accuracy and F1 jump by chance,
    the log-loss does not, and scaling takes out mere over-confidence.

    Args:
        train: real TRAIN images, at least one of each class.
        val: real VAL images; they choose temperature and best epoch and nothing else.
        settings: backbone and recipe.
        seed: of weights, order, augmentation and dropout.
        folder: receives `weights.safetensors`, `model.json`, `stats.jsonl`, and
            `checkpoint.safetensors` while training.
        device: where to train.
        synthetic: accepted synthetic images, added to TRAIN only.

    Returns:
        `folder`.

    Raises:
        InputError: no validation images, a class without training images, images of another size
            or other classes, or unusable weights.
        SettingsError: timm has no such backbone.
    """
    _check(train, val, settings, synthetic)
    settings = effective(settings, train)
    folder.mkdir(parents=True, exist_ok=True)
    images = train if synthetic is None else train.join(synthetic)
    parts = [train, val] if synthetic is None else [train, val, synthetic]
    learner = new_learner(train, settings, seed=seed, device=device)
    fingerprint = fingerprint_of(parts, settings, seed, device)
    checkpoint = folder / "checkpoint.safetensors"
    restore_learner(learner, checkpoint, fingerprint)
    weights = image_weights(
        images.targets, torch.arange(len(images)) >= len(train), len(train.classes),
        balance=settings.balance, share=settings.synthetic_weight,
    )  # fmt: skip
    outline = _outline_epochs(learner, settings, train)
    warm = outline + _head_epochs(learner, settings)
    end = warm + settings.epochs * settings.members
    with bar("training", end, learner.epoch) as shown:
        while learner.epoch < end and not _exhausted(learner, settings, warm):
            if learner.epoch == outline:
                start_head(learner, train, settings)
                _note_epoch(learner, val, settings.precision, loss=None)
            elif learner.epoch == warm + settings.epochs * (1 + len(learner.tuned)):
                next_member(learner)
            loss = _epoch(
                learner, images, weights, settings, size=len(train), seed=seed,
                outline=outline, warm=warm, shown=shown,
            )  # fmt: skip
            learner.epoch += 1
            if learner.epoch > outline:
                _note_epoch(learner, val, settings.precision, loss)
            save_learner(learner, checkpoint, fingerprint)
            _write_stats(folder, learner)
    if settings.keep == "average":
        _join(learner, val, settings)
        _write_stats(folder, learner)
    elif learner.pretrained and settings.refit_head:
        _refit(learner, images, weights, val, settings)
        _write_stats(folder, learner)
    write_model(
        learner, settings, train=train, val=val, synthetic=synthetic, seed=seed, folder=folder
    )
    checkpoint.unlink(missing_ok=True)
    return folder


def effective(settings: ClassifierSettings, train: LabelledImages) -> ClassifierSettings:
    """The settings that can be followed: what asks for something that is not there is left out.

    No lesion attention where no training image has a lesion to learn from.

    A classifier to start from that has learnt outlines on other images is enough, too. Without a
    fitted first head there is nothing to average with: the best epoch of one network is kept.
    """
    pretrained = settings.pretrained or bool(settings.weights or settings.init)
    if not pretrained or settings.head_start == "random":
        settings = settings.model_copy(update={"keep": "best"})
    if settings.keep == "best":
        settings = settings.model_copy(update={"members": 1})
    taught = not settings.frozen and bool(train.known_outlines().masks.any())
    if taught or has_lesion_head(settings.init):
        return settings
    return settings.model_copy(update={"lesion_attention": False})


def _check(
    train: LabelledImages,
    val: LabelledImages,
    settings: ClassifierSettings,
    synthetic: LabelledImages | None,
) -> None:
    if not len(val):
        raise InputError("Expected real images in VAL to stop the training by, but there are none.")
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


def _outline_epochs(learner: Learner, settings: ClassifierSettings, train: LabelledImages) -> int:
    """On top of a pretrained backbone outlines are learnt first, where there are any."""
    known = learner.model.lesion is not None and bool(train.known_outlines().known.any())
    return settings.outline_epochs if known and learner.pretrained else 0


def _head_epochs(learner: Learner, settings: ClassifierSettings) -> int:
    """A head that starts at random is warmed up first; the probe is a finished warm-up."""
    needed = learner.pretrained and settings.head_start == "random"
    return settings.head_epochs if needed else 0


def _exhausted(learner: Learner, settings: ClassifierSettings, warm: int) -> bool:
    """Whether validation has not improved for `patience_epochs` of fine-tuning."""
    if not learner.rows or settings.keep == "average":
        return False
    since = learner.epoch - max(learner.best_epoch, warm)
    return since >= settings.patience_epochs


def _epoch(
    learner: Learner,
    images: LabelledImages,
    weights: torch.Tensor,
    settings: ClassifierSettings,
    *,
    size: int,
    seed: int,
    outline: int,
    warm: int,
    shown: Bar,
) -> float:
    """Show as many images as there are real ones; returns the mean loss.

    With synthetic images an epoch is a random part of all, so that every arm of a comparison
    takes the same number of steps.
    """
    learning = _learning(learner.epoch, outline, warm)
    order = epoch_order(
        images.targets.numpy(), balance=settings.balance, seed=seed, epoch=learner.epoch
    )[:size]
    batches = np.array_split(order, max(1, round(len(order) / settings.batch_size)))
    training_mode(learner.model, frozen_statistics=learner.pretrained, learning=learning)
    decay = _average_decay(settings, len(batches))
    losses = []
    for step, rows in enumerate(batches):
        factor = _factor(learner, step, len(batches), outline, warm, settings)
        set_rates(learner.optimizer, factor, learning)
        loss = learn(
            learner, images.take(rows), weights[rows], settings, seed=seed, step=step,
            decay=min(decay, (1 + learner.step) / (10 + learner.step)),
        )  # fmt: skip
        losses.append(loss)
        learner.step += "body" in learning
        shown.advance(1 / len(batches), f"loss {loss:.3f}")
    return float(np.mean(losses))


def _learning(epoch: int, outline: int, warm: int) -> tuple[str, ...]:
    """Which parts learn in an epoch: first the outline, then a random head, then everything."""
    if epoch < outline:
        return ("outline",)
    return ("outline", "head") if epoch < warm else PARTS


def _factor(  # noqa: PLR0917
    learner: Learner, step: int, steps: int, outline: int, warm: int, settings: ClassifierSettings
) -> float:
    """Share of the peak learning rates: a cosine for the outline, and one for everything."""
    if learner.epoch < outline:
        done = learner.epoch * steps + step
        return cosine_factor(done, outline * steps, settings.warmup_share)
    if learner.epoch < warm:
        return 1.0
    return cosine_factor(learner.step, settings.epochs * steps, settings.warmup_share)


def _refit(
    learner: Learner,
    images: LabelledImages,
    weights: torch.Tensor,
    val: LabelledImages,
    settings: ClassifierSettings,
) -> None:
    """Fit the head anew on the features after fine-tuning, as one more epoch."""
    if settings.balance == "over-sampling":
        shares = len(images) / torch.bincount(images.targets).clamp(min=1)
        weights = weights * (shares / len(images.classes))[images.targets]
    fit_head(learner.average, images, weights, settings)
    learner.epoch += 1
    _note_epoch(learner, val, settings.precision, loss=None)


def _join(learner: Learner, val: LabelledImages, settings: ClassifierSettings) -> None:
    """Keep the mean of the logits before and after fine-tuning, as one more epoch.

    They err on different images, and with a hundred images in VAL choosing one is a gamble.
    """
    state, device = weights_of(learner.average), learner.average.mean.device
    fitted = learner.average.head is not None  # else the first head is chance
    partners = [*([learner.start] if fitted else []), *learner.tuned]
    for i, partner in enumerate(partners):
        state |= {f"partners.{i}.{name}": value for name, value in partner.items()}
    joined = network(settings, len(val.classes), partners=len(partners)).to(device)
    joined.load_state_dict(state)
    learner.average = joined
    learner.epoch += 1
    _note_epoch(learner, val, settings.precision, loss=None)
    learner.best = weights_of(joined)


def _average_decay(settings: ClassifierSettings, steps_per_epoch: int) -> float:
    """Decay per step of the averaged weights; 0 means that the average is the model itself."""
    if not settings.ema_halflife_epochs:
        return 0.0
    return float(0.5 ** (1 / (settings.ema_halflife_epochs * steps_per_epoch)))


def _note_epoch(
    learner: Learner, val: LabelledImages, precision: Precision, loss: float | None
) -> None:
    """Validate the averaged weights, add the log row, keep the weights when they are the best."""
    with arithmetic(precision, learner.average.mean.device):
        logits, targets = model_logits(learner.average, val), val.targets.numpy()
    temperature = fit_temperature(logits, targets)
    row = {
        "epoch": learner.epoch, "train_loss": loss,
        "val_log_loss": mean_log_loss(logits / temperature, targets), **scores(logits, targets),
    }  # fmt: skip
    learner.rows.append(row)
    if learner.best_epoch == learner.epoch:
        learner.best = weights_of(learner.average)


def _write_stats(folder: Path, learner: Learner) -> None:
    text = "".join(json.dumps(row) + "\n" for row in learner.rows)
    write_text(folder / "stats.jsonl", text)
