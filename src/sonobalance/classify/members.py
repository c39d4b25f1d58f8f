"""Several networks in one: which members a classifier has, and how they come to be.

Before and after fine-tuning a network errs on different images, and one that knows other images
errs on others again; their mean logits beat each. With a hundred images in VAL, choosing one of
them instead is a gamble.
"""

from __future__ import annotations

import torch

from sonobalance.classify.build import network
from sonobalance.classify.epochs import note_epoch, outline_epochs, run_epoch
from sonobalance.classify.head import fit_head
from sonobalance.classify.learner import (
    Learner,
    alone,
    new_learner,
    start_head,
    weights_of,
)
from sonobalance.classify.objective import weight_in_all
from sonobalance.classify.tuning import Material
from sonobalance.config import ClassifierSettings
from sonobalance.progress import bar

Weights = dict[str, torch.Tensor]


def refit(learner: Learner, material: Material, settings: ClassifierSettings) -> None:
    """Fit the head anew on the features after fine-tuning, as one more epoch."""
    fit_head(learner.average, material.images, _weights(material, settings), settings)
    learner.crew.follow_first(learner.average)
    learner.epoch += 1
    note_epoch(learner, material.val, settings.precision, loss=None)


def second_of(settings: ClassifierSettings) -> ClassifierSettings | None:
    """The settings by which the second backbone is trained, if there is one."""
    if settings.second_backbone is None:
        return None
    own = {"backbone": settings.second_backbone, "weights": settings.second_weights, "init": None}
    return alone(settings).model_copy(update=own)


def join(
    learner: Learner,
    material: Material,
    settings: ClassifierSettings,
    *,
    seed: int,
    second: Learner | None = None,
) -> None:
    """Keep the mean logits of all members, as one more epoch.

    The members are, for each backbone, the network with its first head and each fine-tuned one,
    and, with `settings.partner`, a classifier of other images. A first head is fitted on real
    images, as a fair start; where an arm adds or weighs images, it is fitted to those for the mean.

    Args:
        learner: after its last epoch; changed in place.
        material: what the arm learns from.
        settings: effective ones.
        seed: of the partner's training.
        second: the second backbone's, after its last epoch.
    """
    device = learner.average.mean.device
    partners = [_first(learner, material, settings), *learner.tuned]
    names = [settings.backbone] * len(partners)
    if settings.partner is not None:
        partners.append(_partner(material, settings, seed=seed, device=device))
        names.append(settings.backbone)
    other = second_of(settings)
    if other is not None and second is not None:
        theirs = [_first(second, material, other), *second.tuned, weights_of(second.average)]
        partners += theirs
        names += [other.backbone] * len(theirs)
    state = weights_of(learner.average)
    for i, partner in enumerate(partners):
        state |= {f"partners.{i}.{name}": value for name, value in partner.items()}
    learner.average = network(settings, len(material.val.classes), partners=names).to(device)
    learner.average.load_state_dict(state)
    learner.epoch += 1
    note_epoch(learner, material.val, settings.precision, loss=None)
    learner.best = weights_of(learner.average)


def _first(
    learner: Learner, material: Material, settings: ClassifierSettings, *, steady: bool = False
) -> Weights:
    """The network before fine-tuning, its head fitted to the images of the arm."""
    weights = _weights(material, settings)
    if len(set(weights.tolist())) == 1 and material.synthetic is None:
        return learner.start
    model = network(settings, len(material.train.classes))
    model.load_state_dict(learner.start)
    model.to(learner.average.mean.device)
    fit_head(model, material.images, weights, settings, steady=steady)
    learner.crew.follow_first(model)
    return weights_of(model)


def _partner(
    material: Material, settings: ClassifierSettings, *, seed: int, device: torch.device
) -> Weights:
    """The partner: a classifier of other images as it is, outline and head learnt here."""
    chosen, train = settings.model_copy(update={"init": settings.partner}), material.train
    learner = new_learner(train, chosen, seed=seed, device=device)
    epochs, weights = outline_epochs(learner, chosen, train), torch.ones(len(train))
    with bar("partner", epochs) as shown:
        for learner.epoch in range(epochs):
            run_epoch(
                learner, train, weights, chosen, size=len(train), seed=seed,
                outline=epochs, warm=epochs, shown=shown,
            )  # fmt: skip
    start_head(learner, train, chosen, steady=True)
    return _first(learner, material, chosen, steady=True)


def _weights(material: Material, settings: ClassifierSettings) -> torch.Tensor:
    """(N,) weight of each image in a regression that the arm's rebalancing applies to."""
    images = material.images
    return weight_in_all(
        images.targets, len(material.train), len(images.classes),
        balance=settings.balance, share=settings.synthetic_share,
    ).float()  # fmt: skip
