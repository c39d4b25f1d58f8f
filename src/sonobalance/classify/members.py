"""Several networks in one: which members a classifier has, and how they come to be.

Before and after fine-tuning a network errs on different images, and one that knows other images
errs on others again; their mean logits beat each. With a hundred images in VAL, choosing one of
them instead is a gamble.
"""

from __future__ import annotations

import torch

from sonobalance.classify.epochs import note_epoch, outline_epochs, run_epoch
from sonobalance.classify.head import fit_head
from sonobalance.classify.learner import (
    Learner,
    network,
    new_learner,
    start_head,
    weights_of,
)
from sonobalance.classify.objective import weight_in_all
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.progress import bar

Weights = dict[str, torch.Tensor]


def refit(
    learner: Learner,
    images: LabelledImages,
    val: LabelledImages,
    settings: ClassifierSettings,
    *,
    real: int,
) -> None:
    """Fit the head anew on the features after fine-tuning, as one more epoch."""
    fit_head(learner.average, images, _weights(images, real, settings), settings)
    learner.epoch += 1
    note_epoch(learner, val, settings.precision, loss=None)


def join(
    learner: Learner,
    images: LabelledImages,
    train: LabelledImages,
    val: LabelledImages,
    settings: ClassifierSettings,
    *,
    seed: int,
) -> None:
    """Keep the mean logits of all members, as one more epoch.

    The members are the network with its first head, each fine-tuned one, and, with
    `settings.partner`, a classifier of other images. The first head is fitted on real images, as a
    fair start; where an arm adds or weighs images, it is fitted to those for the mean.

    Args:
        learner: after its last epoch; changed in place.
        images: what the arm trains on.
        train: real TRAIN images.
        val: real VAL images.
        settings: effective ones.
        seed: of the partner's training.
    """
    device = learner.average.mean.device
    partners = [_first(learner, images, settings, len(train)), *learner.tuned]
    if settings.partner is not None:
        partners.append(_partner(train, settings, seed=seed, device=device))
    state = weights_of(learner.average)
    for i, partner in enumerate(partners):
        state |= {f"partners.{i}.{name}": value for name, value in partner.items()}
    learner.average = network(settings, len(val.classes), partners=len(partners)).to(device)
    learner.average.load_state_dict(state)
    learner.epoch += 1
    note_epoch(learner, val, settings.precision, loss=None)
    learner.best = weights_of(learner.average)


def _first(
    learner: Learner, images: LabelledImages, settings: ClassifierSettings, real: int
) -> Weights:
    """The network before fine-tuning, its head fitted to the images of the arm."""
    weights = _weights(images, real, settings)
    if len(set(weights.tolist())) == 1 and len(images) == real:
        return learner.start
    model = network(settings, len(images.classes))
    model.load_state_dict(learner.start)
    fit_head(model.to(learner.average.mean.device), images, weights, settings)
    return weights_of(model)


def _partner(
    train: LabelledImages, settings: ClassifierSettings, *, seed: int, device: torch.device
) -> Weights:
    """The partner: a classifier of other images as it is, outline and head learnt on TRAIN."""
    chosen = settings.model_copy(update={"init": settings.partner})
    learner = new_learner(train, chosen, seed=seed, device=device)
    epochs, weights = outline_epochs(learner, chosen, train), torch.ones(len(train))
    with bar("partner", epochs) as shown:
        for learner.epoch in range(epochs):
            run_epoch(
                learner, train, weights, chosen, size=len(train), seed=seed,
                outline=epochs, warm=epochs, shown=shown,
            )  # fmt: skip
    start_head(learner, train, chosen, steady=True)
    return learner.start


def _weights(images: LabelledImages, real: int, settings: ClassifierSettings) -> torch.Tensor:
    return weight_in_all(
        images.targets, real, len(images.classes),
        balance=settings.balance, share=settings.synthetic_share,
    ).float()  # fmt: skip
