"""The course of one network's training: outline, first head, fine-tuning; killed, it goes on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from sonobalance.classify.checkpoint import fingerprint_of, restore_learner, save_learner
from sonobalance.classify.epochs import head_epochs, note_epoch, outline_epochs, run_epoch
from sonobalance.classify.learner import (
    Learner,
    new_learner,
    next_member,
    start_head,
)
from sonobalance.classify.objective import image_weights
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.files import write_text
from sonobalance.progress import bar

_CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Material:
    """What an arm learns from, and what it is validated on.

    Attributes:
        train: real TRAIN images.
        val: real VAL images.
        synthetic: accepted synthetic images, if any.
    """

    train: LabelledImages
    val: LabelledImages
    synthetic: LabelledImages | None = None

    @property
    def parts(self) -> list[LabelledImages]:
        """All sets of images."""
        return [self.train, self.val, *([] if self.synthetic is None else [self.synthetic])]

    @cached_property
    def images(self) -> LabelledImages:
        """What is shown in training: real images first."""
        return self.train if self.synthetic is None else self.train.join(self.synthetic)


def tune(
    material: Material, settings: ClassifierSettings, *, seed: int, folder: Path,
    device: torch.device,
) -> Learner:  # fmt: skip
    """Take one network through all its epochs, for each of its `members`.

    Args:
        material: what to learn from.
        settings: effective ones; a second backbone or a partner plays no part here.
        seed: of weights, order, augmentation and dropout.
        folder: receives `stats.jsonl` and the checkpoint.
        device: where to train.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train, images = material.train, material.images
    learner = new_learner(train, settings, seed=seed, device=device)
    fingerprint = fingerprint_of(material.parts, settings, seed, device)
    restore_learner(learner, folder / _CHECKPOINT, fingerprint)
    weights = image_weights(images.targets, len(train.classes), balance=settings.balance)
    outline = outline_epochs(learner, settings, train)
    warm = outline + head_epochs(learner, settings)
    end = warm + settings.epochs * settings.members
    with bar(f"training {settings.backbone}", end, learner.epoch) as shown:
        while learner.epoch < end and not _exhausted(learner, settings, warm):
            if learner.epoch == outline:
                start_head(learner, train, settings)
                note_epoch(learner, material.val, settings.precision, loss=None)
            elif learner.epoch == warm + settings.epochs * (1 + len(learner.tuned)):
                next_member(learner)
            loss = run_epoch(
                learner, images, weights, settings, size=len(train), seed=seed,
                outline=outline, warm=warm, shown=shown,
            )  # fmt: skip
            learner.epoch += 1
            if learner.epoch > outline:
                note_epoch(learner, material.val, settings.precision, loss)
            save_learner(learner, folder / _CHECKPOINT, fingerprint)
            write_stats(folder, learner)
    return learner


def forget(folder: Path) -> None:
    """Remove what the finished training of an arm no longer needs."""
    for path in folder.rglob(_CHECKPOINT):
        path.unlink()


def write_stats(folder: Path, learner: Learner) -> None:
    """Write one row for each finished epoch: `stats.jsonl`."""
    text = "".join(json.dumps(row) + "\n" for row in learner.rows)
    write_text(folder / "stats.jsonl", text)


def _exhausted(learner: Learner, settings: ClassifierSettings, warm: int) -> bool:
    """Whether validation has not improved for `patience_epochs` of fine-tuning."""
    if not learner.rows or settings.keep == "average":
        return False
    since = learner.epoch - max(learner.best_epoch, warm)
    return since >= settings.patience_epochs
