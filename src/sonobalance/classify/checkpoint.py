"""A training's way to disk and back, so that one that was cut off goes on exactly where it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from sonobalance.classify.learner import OTHERS, Learner
from sonobalance.classify.places import weights_file
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.files import sha256_of
from sonobalance.state import load_state, save_state

_APART = ("weights", "init", "devices")  # settings that say where and how, not what


def save_learner(learner: Learner, path: Path, fingerprint: str) -> None:
    """Write everything that the next epoch depends on; the first process does."""
    if not learner.crew.first:
        return
    save_state(
        path,
        {
            "fingerprint": fingerprint, "epoch": learner.epoch, "step": learner.step,
            "rows": learner.rows, "best": learner.best, "start": learner.start,
            "tuned": learner.tuned, "model": learner.model.state_dict(),
            "average": learner.average.state_dict(), "optimizer": learner.optimizer.state_dict(),
        },
    )  # fmt: skip


def restore_learner(learner: Learner, path: Path, fingerprint: str) -> None:
    """Continue from a file of `save_learner`, if it is of the same images, settings and seed.

    Without such a file, or with one of another training, training starts anew.

    Raises:
        InputError: the file is damaged.
    """
    if not path.is_file():
        return
    saved = load_state(path)
    if saved["fingerprint"] != fingerprint:
        return
    learner.model.load_state_dict(saved["model"])
    learner.average.load_state_dict(saved["average"])
    learner.optimizer.load_state_dict(saved["optimizer"])
    learner.epoch, learner.step = saved["epoch"], saved["step"]
    learner.rows, learner.best = saved["rows"], saved["best"]
    learner.start, learner.tuned = saved["start"], saved["tuned"]


def fingerprint_of(
    parts: list[LabelledImages], settings: ClassifierSettings, seed: int, device: torch.device
) -> str:
    """Hex digest of everything that the training of this network depends on."""
    recipe = settings.model_dump_json(exclude={*_APART, *OTHERS})
    files = [settings.weights] if settings.weights else []
    files += [weights_file(settings.init)] if settings.init else []
    start = "/".join(sha256_of(path) for path in files)
    digest = hashlib.sha256(f"{recipe}/{start}/{seed}/{device.type}".encode())
    for part in parts:
        digest.update("\n".join(part.ids).encode())
        digest.update(part.targets.numpy().tobytes())
        digest.update(part.pixels.numpy().tobytes())
        if part.outlines is not None:
            digest.update(part.outlines.masks.numpy().tobytes())
            digest.update(part.outlines.known.numpy().tobytes())
    return digest.hexdigest()
