"""What a finished training leaves behind: weights, and a page that says how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.metrics import accuracy_score, f1_score

from sonobalance.classify.learner import Learner
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.places import page_file, weights_file
from sonobalance.classify.predict import FORMAT, model_logits
from sonobalance.config import ClassifierSettings
from sonobalance.data.cleaning import cleaning
from sonobalance.data.loading import LabelledImages
from sonobalance.files import sha256_of, write_json
from sonobalance.state import atomic_tensors
from sonobalance.temperature import fit_temperature, mean_log_loss

# Files are told by their digests instead, a second backbone among the partners; devices change
# nothing.
_ELSEWHERE = {"weights", "second_backbone", "second_weights", "init", "partner", "devices"}


def write_model(
    learner: Learner,
    settings: ClassifierSettings,
    *,
    train: LabelledImages,
    val: LabelledImages,
    synthetic: LabelledImages | None,
    seed: int,
    folder: Path,
) -> None:
    """Write the best weights, then `model.json`, the page that says what they are and how made.

    The temperature and the scores on VAL are of the very path that `Predictor` takes.
    """
    path = weights_file(folder)
    with atomic_tensors(path) as temporary:
        save_file({name: value.contiguous() for name, value in learner.best.items()}, temporary)
    model = learner.average
    model.load_state_dict(learner.best)
    logits = model_logits(model, val, mirror=settings.mirror_test)
    targets = val.targets.numpy()
    temperature = fit_temperature(logits, targets)
    write_json(
        page_file(folder),
        {
            "format": FORMAT,
            "classes": list(train.classes),
            "backbone": settings.backbone,
            "attention": settings.attention,
            "partners": [partner.name for partner in model.partners],
            "gated_stages": list(model.gated),
            "target_layer": model.target_layer.name,
            "preprocessing": _preprocessing(model, settings),
            "mirror_test": settings.mirror_test,
            "temperature": temperature,
            "weights_sha256": sha256_of(path),
            "pretrained_weights_sha256": _digest(settings.weights),
            "second_weights_sha256": _digest(settings.second_weights),
            "init_sha256": _digest(settings.init and weights_file(settings.init)),
            "partner_sha256": _digest(settings.partner and weights_file(settings.partner)),
            "images": {
                "real": class_counts(train),
                "synthetic": class_counts(synthetic) if synthetic is not None else {},
                "validation": class_counts(val),
            },
            "outlined_images": int(train.known_outlines().known.sum()),
            "best_epoch": learner.best_epoch if settings.keep == "best" else None,
            "epochs": learner.epoch,
            "validation": {
                "log_loss": mean_log_loss(logits / temperature, targets), **scores(logits, targets)
            },
            "seed": seed,
            "settings": settings.model_dump(mode="json", exclude=_ELSEWHERE),
            "versions": {"torch": torch.__version__, "timm": timm.__version__},
        },
    )  # fmt: skip


def _digest(path: Path | None) -> str | None:
    return None if path is None else sha256_of(path)


def _preprocessing(model: AttentiveClassifier, settings: ClassifierSettings) -> dict[str, Any]:
    """How an image becomes an input."""
    return {
        "image_size_px": settings.image_size_px,
        "letterbox": "aspect ratio kept, area resampling, black padding, centred",
        "clean_marks": cleaning(),
        "input_range": [-1, 1],
        "mean": model.mean.flatten().tolist(),
        "std": model.std.flatten().tolist(),
    }


def class_counts(images: LabelledImages) -> dict[str, int]:
    """Images per class, classes without any included."""
    counted = torch.bincount(images.targets, minlength=len(images.classes)).tolist()
    return dict(zip(images.classes, counted, strict=True))


def scores(logits: NDArray[np.float32], targets: NDArray[np.int64]) -> dict[str, float]:
    """Accuracy, and macro-F1 over the classes that are there, of (N, K) logits."""
    predicted, there = logits.argmax(1), np.unique(targets)
    return {
        "accuracy": float(accuracy_score(targets, predicted)),
        "macro_f1": float(
            f1_score(targets, predicted, labels=there, average="macro", zero_division=0)
        ),
    }
