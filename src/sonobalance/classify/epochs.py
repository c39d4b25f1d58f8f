"""One epoch of training, and what VAL says after it."""

from __future__ import annotations

import numpy as np
import torch

from sonobalance.classify.learner import Learner, learn, weights_of
from sonobalance.classify.objective import epoch_order
from sonobalance.classify.predict import model_logits
from sonobalance.classify.record import scores
from sonobalance.classify.schedule import PARTS, cosine_factor, set_rates, training_mode
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.precision import Precision, arithmetic
from sonobalance.progress import Bar
from sonobalance.temperature import fit_temperature, mean_log_loss


def outline_epochs(learner: Learner, settings: ClassifierSettings, train: LabelledImages) -> int:
    """On top of a pretrained backbone outlines are learnt first, where there are any."""
    known = learner.model.lesion is not None and bool(train.known_outlines().known.any())
    return settings.outline_epochs if known and learner.pretrained else 0


def head_epochs(learner: Learner, settings: ClassifierSettings) -> int:
    """A head that starts at random is warmed up first; the probe is a finished warm-up."""
    needed = learner.pretrained and settings.head_start == "random"
    return settings.head_epochs if needed else 0


def run_epoch(
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
    """Show as many images as there are real ones, which come first; returns the mean loss.

    With synthetic images an epoch is a random part of all, so that every arm of a comparison
    takes the same number of steps.
    """
    learning = _learning(learner.epoch, outline, warm)
    order = epoch_order(
        images.targets.numpy(), np.arange(len(images)) >= size, balance=settings.balance,
        share=settings.synthetic_share, seed=seed, epoch=learner.epoch,
    )[:size]  # fmt: skip
    batches = np.array_split(order, steps_per_epoch(size, settings))
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


def steps_per_epoch(size: int, settings: ClassifierSettings) -> int:
    """Into how many batches of two or more, as equal as can be, `size` images are divided."""
    return max(1, min(round(size / settings.batch_size), size // 2))


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


def _average_decay(settings: ClassifierSettings, steps_per_epoch: int) -> float:
    """Decay per step of the averaged weights; 0 means that the average is the model itself."""
    if not settings.ema_halflife_epochs:
        return 0.0
    return float(0.5 ** (1 / (settings.ema_halflife_epochs * steps_per_epoch)))


def note_epoch(
    learner: Learner, val: LabelledImages, precision: Precision, loss: float | None
) -> None:
    """Validate the averaged weights, add the log row, keep the weights when they are the best.

    What the first of several processes finds holds for all of them.
    """
    device = learner.average.mean.device
    with arithmetic(precision, device):
        logits, targets = model_logits(learner.average, val), val.targets.numpy()
    temperature = fit_temperature(logits, targets)
    row = {
        "epoch": learner.epoch, "train_loss": loss,
        "val_log_loss": mean_log_loss(logits / temperature, targets), **scores(logits, targets),
    }  # fmt: skip
    learner.rows.append(learner.crew.told_by_first(row, device))
    if learner.best_epoch == learner.epoch:
        learner.best = weights_of(learner.average)
