"""The state of a training run, and one step of it."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.utils import clip_grad_norm_

from sonobalance.classify.augment import augment_both
from sonobalance.classify.build import network
from sonobalance.classify.head import fit_head
from sonobalance.classify.lesion import outline_loss
from sonobalance.classify.mixing import mix
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.objective import weighted_loss
from sonobalance.classify.schedule import follow, parameter_groups
from sonobalance.classify.weights import load_backbone, load_classifier
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.errors import SettingsError
from sonobalance.parallel import Crew
from sonobalance.precision import arithmetic
from sonobalance.randomness import seed_torch, torch_generator

OTHERS = ("partner", "second_backbone", "second_weights")  # settings of further members
_LARGEST_GRADIENT = 5.0


@dataclass
class Learner:
    """Everything that changes while training.

    Attributes:
        model: the network that learns.
        average: exponential moving average of its weights: what is validated and kept.
        optimizer: AdamW over `schedule.parameter_groups`.
        pretrained: whether the backbone came with weights.
        epoch: finished epochs, head warm-up included.
        step: finished steps of fine-tuning.
        rows: one log row per finished epoch.
        start: weights with the first fitted head, before anything was fine-tuned; empty without.
        tuned: weights of the members that are fine-tuned to the end.
        best: weights to keep: those of the best epoch, or the mean of all members.
        crew: the processes that train together.
    """

    model: AttentiveClassifier
    average: AttentiveClassifier
    optimizer: torch.optim.Optimizer
    pretrained: bool
    epoch: int = 0
    step: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)
    start: dict[str, torch.Tensor] = field(default_factory=dict)
    tuned: list[dict[str, torch.Tensor]] = field(default_factory=list)
    best: dict[str, torch.Tensor] = field(default_factory=dict)
    crew: Crew = field(default_factory=Crew)

    @property
    def best_epoch(self) -> int:
        """The epoch with the lowest validation loss; the first of equal ones."""
        return int(min(self.rows, key=lambda row: row["val_log_loss"])["epoch"])


def new_learner(
    train: LabelledImages, settings: ClassifierSettings, *, seed: int, device: torch.device
) -> Learner:
    """A fresh network, with pretrained weights where settings say so.

    Raises:
        InputError: weights that are missing, damaged or of another backbone.
        SettingsError: timm has no such backbone.
    """
    seed_torch(seed, "classifier")
    download = settings.pretrained and settings.weights is None
    model = network(settings, len(train.classes), pretrained=download)
    if settings.init is not None:
        load_classifier(model, settings.init)
    elif settings.weights is not None:
        load_backbone(model, settings.weights)
    pretrained = settings.pretrained or bool(settings.weights or settings.init)
    model.to(device)
    average = copy.deepcopy(model)
    groups = parameter_groups(model, settings, pretrained=pretrained)
    crew = Crew.present() if settings.devices > 1 else Crew()
    return Learner(model, average, torch.optim.AdamW(groups), pretrained, crew=crew)


def alone(settings: ClassifierSettings) -> ClassifierSettings:
    """The same without members of another backbone or of other images."""
    return settings.model_copy(update=dict.fromkeys(OTHERS))


def start_head(
    learner: Learner, train: LabelledImages, settings: ClassifierSettings, *, steady: bool = False
) -> None:
    """Fit the first head on frozen features of the real images.

    Linear probing before fine-tuning (Kumar et al., ICLR 2022): a random head would push the
    pretrained features out of shape before it knows what it wants from them. Does nothing for a
    network without pretrained weights, or where the settings ask for a random head.
    """
    if learner.pretrained and settings.head_start == "probe":
        fit_head(learner.average, train, torch.ones(len(train)), settings, steady=steady)
        learner.crew.follow_first(learner.average)
        learner.model.load_state_dict(learner.average.state_dict())
        learner.start = weights_of(learner.average)


def next_member(learner: Learner) -> None:
    """Put the tuned network aside and go back to the first head, for another fine-tuning."""
    learner.tuned.append(weights_of(learner.average))
    for model in (learner.model, learner.average):
        model.load_state_dict(learner.start)
    learner.optimizer.state.clear()
    learner.step = 0


def weights_of(model: AttentiveClassifier) -> dict[str, torch.Tensor]:
    """A copy of a model's weights on the CPU."""
    state = model.state_dict()
    return {name: value.detach().cpu().clone() for name, value in state.items()}


def learn(
    learner: Learner,
    images: LabelledImages,
    weights: torch.Tensor,
    settings: ClassifierSettings,
    *,
    seed: int,
    step: int,
    decay: float,
) -> float:
    """One step on one batch: augment, loss, backward, clip, AdamW, average.

    Several processes add up the gradients of their rows: the step is that of one, up to the order
    of summation. With dropout it is so in distribution only: each process draws what it drops.

    Args:
        learner: changed in place; its modes and learning rates are set by the caller.
        images: the whole batch.
        weights: (N,) loss weight of each image, above 0.
        settings: recipe.
        seed: of the augmentation and of dropout, together with the epoch and `step`.
        step: position of the batch in the epoch.
        decay: of the averaged weights.

    Returns:
        The loss.

    Raises:
        SettingsError: the loss is no longer finite.
    """
    crew = learner.crew
    generator = torch_generator(seed, "augment", learner.epoch, step)
    seed_torch(seed, "step", learner.epoch, step, *([] if crew.first else [crew.rank]))
    loss = _loss(learner, images, weights, settings, generator)
    total = crew.total(loss.detach())
    if not torch.isfinite(total):
        raise SettingsError(
            f"Expected a finite training loss, but it is {total.item()} in epoch "
            f"{learner.epoch + 1}; lower `classifier.backbone_lr` or `classifier.head_lr`."
        )
    learner.optimizer.zero_grad()
    loss.backward()
    crew.add_gradients(learner.model.parameters())
    clip_grad_norm_(learner.model.parameters(), _LARGEST_GRADIENT)
    learner.optimizer.step()
    follow(learner.average, learner.model, decay)
    return total.item()


def _loss(
    learner: Learner,
    images: LabelledImages,
    weights: torch.Tensor,
    settings: ClassifierSettings,
    generator: torch.Generator,
) -> torch.Tensor:
    """Loss of the class and, with lesion attention, of the outline on one augmented batch.

    The whole batch is augmented and mixed; then each process has the loss of its own rows, and
    these add up to that of the batch.
    """
    model, crew = learner.model, learner.crew
    device, truth = model.mean.device, images.known_outlines()
    batch, masks = augment_both(
        to_unit(images.pixels.to(device)), truth.masks.to(device).float() / 255,
        settings.augmentation, generator,
    )  # fmt: skip
    mixed = mix(torch.cat([batch, masks], 1), settings.mixup, settings.cutmix, generator)
    mine = crew.share(mixed.images)
    with arithmetic(settings.precision, device):
        logits, outline = model.decide(mine[:, :1])
    loss = torch.stack([
        share * _part_of(weights[rows], crew) * weighted_loss(
            logits.float(), crew.share(images.targets[rows]).to(device),
            crew.share(weights[rows]).to(device),
            smoothing=settings.label_smoothing, focal_gamma=settings.focal_gamma,
        )
        for rows, share in mixed.parts()
    ]).sum()  # fmt: skip
    if outline is None:
        return loss
    known = truth.known & truth.known[mixed.order]
    drawn = outline_loss(outline, mine[:, 1:], crew.share(known).to(device))
    return loss + settings.mask_weight * _part_of(known, crew) * drawn


def _part_of(weights: torch.Tensor, crew: Crew) -> torch.Tensor:
    """Part of a batch's weighted mean that is due to the rows of this process; 1 for all rows."""
    return crew.share(weights).float().sum() / weights.float().sum().clamp(min=1e-12)
