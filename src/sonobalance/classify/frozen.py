"""The frozen classifier: a regularised regression on features that nothing here adapts.

It is the `probe` arm, and with `classifier.frozen` every arm: seconds instead of minutes, which
makes many folds, seeds and degrees of scarcity affordable. It leaves the same files as fine-tuning.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sonobalance.classify.augment import augment
from sonobalance.classify.feature_store import FeatureStore
from sonobalance.classify.head import take_over
from sonobalance.classify.learner import Learner, alone, new_learner, weights_of
from sonobalance.classify.objective import weight_in_all, weighted_loss
from sonobalance.classify.predict import model_logits
from sonobalance.classify.probe import Matrix, Probe, fit_probe, standardiser
from sonobalance.classify.record import scores, write_model
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages, to_pixels, to_unit
from sonobalance.errors import InputError
from sonobalance.randomness import torch_generator
from sonobalance.temperature import fit_temperature, mean_log_loss

STRONG_COPIES = 4


def train_frozen(
    train: LabelledImages,
    val: LabelledImages,
    settings: ClassifierSettings,
    *,
    groups: Sequence[str],
    seed: int,
    folder: Path,
    device: torch.device,
    synthetic: LabelledImages | None = None,
    store: FeatureStore | None = None,
) -> Path:
    """Fit the head on frozen features of every training image and its mirror.

    The strength of the regularisation is chosen by grouped cross-validation of the real TRAIN
    images, so it is the same whatever is added to them. VAL fits the temperature and nothing else.

    Args:
        train: real TRAIN images.
        val: real VAL images.
        settings: backbone, balance, loss and strong augmentation; nothing about epochs applies.
        groups: relatives' key of each TRAIN image.
        seed: of folds, augmentation and over-sampling.
        folder: receives `weights.safetensors` and `model.json`, as from `train_classifier`.
        device: where features are computed.
        synthetic: accepted synthetic images, added to TRAIN only.
        store: features computed before, by content; None computes all.

    Returns:
        `folder`.

    Raises:
        InputError: a class without training images, no VAL images, or unusable weights.
        SettingsError: the backbone's head is not a linear layer on its pooled features.
    """
    if not len(val):
        raise InputError("Expected real images in VAL to fit the temperature by, but got none.")
    folder.mkdir(parents=True, exist_ok=True)
    settings = alone(settings.model_copy(update={"keep": "best"}))
    if settings.init is None:  # nothing frozen has learnt where lesions are
        settings = settings.model_copy(update={"lesion_attention": False})
    learner = new_learner(
        train, settings.model_copy(update={"head_start": "random"}), seed=seed, device=device
    )
    store = store or FeatureStore(None)
    images = train if synthetic is None else train.join(synthetic)
    views = [images, mirrored(images), *_strong_views(images, settings, seed)]
    network = learner.average
    x = np.concatenate([store.features(network, view) for view in views])
    y = np.tile(images.targets.numpy(), len(views))
    weight = weight_in_all(
        images.targets, len(train), len(images.classes),
        balance=settings.balance, share=settings.synthetic_share,
    )  # fmt: skip
    weights = np.tile(weight.numpy(), len(views)) / len(views)
    real = store.features(network, train)
    c = fit_probe(real, train.targets.numpy(), np.asarray(groups), seed).c
    if settings.focal_gamma:
        probe = fit_focal(x, y, weights, c=c, gamma=settings.focal_gamma)
    else:
        probe = fit_probe(x, y, c=c, weights=weights)
    take_over(learner.average, probe, settings)
    _note(learner, val)
    write_model(
        learner, settings, train=train, val=val, synthetic=synthetic, seed=seed, folder=folder
    )
    return folder


def mirrored(images: LabelledImages) -> LabelledImages:
    """The left-right mirror of every image."""
    return LabelledImages(images.pixels.flip(3), images.targets, images.ids, images.classes)


def fit_focal(
    features: Matrix,
    targets: NDArray[np.int64],
    weights: NDArray[np.float64],
    *,
    c: float,
    gamma: float,
) -> Probe:
    """A linear classifier under the focal loss, regularised as scikit-learn's C does.

    Minimises Σ w_i focal_i + |W|² / (2 C) on standardised features; γ = 0 is `fit_probe`.

    Args:
        features: (N, F).
        targets: (N,) int64.
        weights: (N,).
        c: inverse strength of the regularisation.
        gamma: γ of Lin et al. 2017, eq. 4.
    """
    x = np.asarray(features, np.float64)
    scaler = standardiser(x, weights)
    inputs, labels = torch.from_numpy(scaler.transform(x)), torch.from_numpy(targets)
    masses, classes = torch.from_numpy(weights), int(targets.max()) + 1
    rows = 2 if classes == 2 else 1  # of two classes scikit-learn penalises the difference
    weight = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=500, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = weighted_loss(inputs @ weight.T + bias, labels, masses, focal_gamma=gamma)
        objective = loss * masses.sum() + weight.square().sum() * rows / (2 * c)
        objective.backward()
        return objective

    optimizer.step(closure)
    raw = weight.detach().numpy() / scaler.scale_
    return Probe(raw, bias.detach().numpy() - raw @ scaler.mean_, c)


def _strong_views(
    images: LabelledImages, settings: ClassifierSettings, seed: int
) -> list[LabelledImages]:
    """Strongly augmented copies, where the settings ask for them."""
    if settings.augmentation != "strong":
        return []
    views = []
    for copy in range(STRONG_COPIES):
        generator = torch_generator(seed, "frozen", copy)
        pixels = to_pixels(augment(to_unit(images.pixels), "strong", generator))
        views.append(LabelledImages(pixels, images.targets, images.ids, images.classes))
    return views


def _note(learner: Learner, val: LabelledImages) -> None:
    """Make the fitted network what is kept, and note how it does on VAL."""
    learner.best = weights_of(learner.average)
    logits, targets = model_logits(learner.average, val), val.targets.numpy()
    loss = mean_log_loss(logits / fit_temperature(logits, targets), targets)
    learner.rows = [
        {"epoch": 0, "train_loss": None, "val_log_loss": loss, **scores(logits, targets)}
    ]
