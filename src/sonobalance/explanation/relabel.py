"""Does a map change when the network learns meaningless labels?

Label randomisation (Adebayo et al. 2018, section 4.2): a network that learned by heart which of
shuffled labels belongs to which image decides by other things; a map that stays the same shows the
image and not the decision. The paper trains from scratch. Here the last fifth of the weights learns
shuffled TRAIN labels for a few epochs and the head is then fitted to them exactly: the layers that
class activation maps look at forget what they knew, at the price of seconds instead of a training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sonobalance.classify.features import model_features
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.probe import fit_probe
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.explanation.maps import device_of
from sonobalance.explanation.sanity import (
    chance_of,
    is_fit,
    maps_of,
    rank_correlation,
    restored,
)
from sonobalance.explanation.study import Study
from sonobalance.randomness import numpy_generator

LAST_SHARE = 0.2
EPOCHS = 6
RATE = 1e-3
EXACT_C = 100.0


def label_check(
    study: Study, train: LabelledImages, sample: Sequence[int], heavy: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Rank correlation of every map with that of the network that learned shuffled labels.

    Args:
        study: what is explained; its model is the same afterwards.
        train: TRAIN images.
        sample: positions of the images whose maps are compared.
        heavy: costly maps to check as well.

    Returns:
        Map → {"learned": share of the shuffled labels that were learned, "rank_correlation",
        "absolute": means over images of ρ and |ρ|, "chance", "fit", "sentence"}.
    """
    inputs = study.inputs(sample)
    ask = partial(maps_of, study.model, study.layer, inputs, cost=study.cost_of_checks, heavy=heavy)
    before = ask()
    chance = chance_of(study.model, study.layer, inputs.images, before, study.seed)
    shuffled = shuffled_labels(train, study.settings.relabelled_images, study.seed)
    size = study.settings.batch_size
    with relabelled(study.model, shuffled, batch_size=size, seed=study.seed) as learned:
        after = ask()
    return {
        name: {"learned": learned, **_judged(rank_correlation(maps, after[name]), chance[name])}
        for name, maps in before.items()
    }


def _judged(found: dict[str, float], chance: float) -> dict[str, Any]:
    fit = is_fit(found["absolute"], chance)
    said = "depends on the labels" if fit else "is unfit, it hardly depends on the labels"
    return found | {
        "chance": chance,
        "fit": fit,
        "sentence": f"Rank correlation after learning shuffled labels: {found['absolute']:.2f} "
        f"(chance {chance:.2f}); the map {said}.",
    }


def shuffled_labels(train: LabelledImages, count: int, seed: int) -> LabelledImages:
    """At most `count` TRAIN images whose labels were dealt out anew among them."""
    generator = numpy_generator(seed, "explain", "labels")
    some = train.take(np.sort(generator.permutation(len(train))[:count]))
    order = torch.from_numpy(generator.permutation(len(some)))
    return LabelledImages(some.pixels, some.targets[order], some.ids, some.classes)


@contextmanager
def relabelled(
    model: nn.Module, images: LabelledImages, *, batch_size: int, seed: int
) -> Iterator[float]:
    """The model after it learned these labels; it gets its own weights back at the end.

    Args:
        model: (N, 1, S, S) → (N, K) logits; stays in evaluation mode while it learns, so that batch
            statistics are kept and nothing is dropped.
        images: with the labels to learn.
        batch_size: images per step.
        seed: of the order of the images.

    Yields:
        Share of the images whose new label the model gives.
    """
    training = model.training
    learning = {name: p.requires_grad for name, p in model.named_parameters()}
    with restored(model):
        model.eval().requires_grad_(False)
        try:
            _learn(model, images, batch_size, seed)
            _refit_head(model, images)
            yield _accuracy(model, images, batch_size)
        finally:
            model.train(training)
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(learning[name])


def _refit_head(model: nn.Module, images: LabelledImages) -> None:
    """Fit a linear head on the features exactly; other heads learn by steps alone."""
    present = images.targets.unique().tolist() == list(range(len(images.classes)))
    if not isinstance(model, AttentiveClassifier) or not present:
        return
    for member in _members(model):
        features = model_features(member, images, image_size_px=images.pixels.shape[-1])
        probe = fit_probe(features, images.targets.numpy(), c=EXACT_C)
        member.set_head(torch.from_numpy(probe.weight), torch.from_numpy(probe.bias))


def _members(model: nn.Module) -> list[Any]:
    """The networks whose mean the model is, itself first."""
    return [model, *getattr(model, "partners", [])]


def _learn(model: nn.Module, images: LabelledImages, batch_size: int, seed: int) -> None:
    """`EPOCHS` of AdamW for the last weights; nothing below them is kept for a backward pass."""
    last = []
    for member in _members(model):
        weights = [p for name, p in member.named_parameters() if not name.startswith("partners.")]
        last += weights[round((1 - LAST_SHARE) * len(weights)) :]
    for weight in last:
        weight.requires_grad_(True)
    optimizer = torch.optim.AdamW(last, RATE)
    device = device_of(model)
    for epoch in range(EPOCHS):
        order = numpy_generator(seed, "explain", "relabel", epoch).permutation(len(images))
        for rows in np.array_split(order, max(1, round(len(order) / batch_size))):
            some = images.take(rows)
            with torch.enable_grad():
                logits = model(to_unit(some.pixels).to(device))
                loss = cross_entropy(logits, some.targets.to(device))
                optimizer.zero_grad()
                loss.backward()
            optimizer.step()
    model.requires_grad_(False)
    for weight in last:
        weight.grad = None


@torch.no_grad()
def _accuracy(model: nn.Module, images: LabelledImages, batch_size: int) -> float:
    device = device_of(model)
    right = [
        (model(to_unit(part).to(device)).argmax(1).cpu() == wanted).float()
        for part, wanted in zip(
            images.pixels.split(batch_size), images.targets.split(batch_size), strict=True
        )
    ]
    return float(torch.cat(right).mean())
