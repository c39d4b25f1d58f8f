"""Start from the networks of a GAN that was trained on another set; the classes may differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sonobalance.errors import InputError
from sonobalance.gan.discriminators import Discriminator, TwinHead
from sonobalance.gan.snapshot import read_tree
from sonobalance.gan.training import Training

ALIKE = ("image_size_px", "base_channels", "latent_dim", "synthesize_masks")


def warm_start(t: Training, path: Path) -> None:
    """Copy every tensor that fits; those with a row per class go by the names of the classes.

    A class that the other GAN did not know starts from the mean of those it knew. The warm-up
    follows as usual: shorten `autoencoder_kimg` if the sets are alike.

    Raises:
        InputError: the other GAN has another size, width or length of the latent.
    """
    tree = read_tree(path)
    for name in ALIKE:
        theirs, ours = tree["settings"].get(name), getattr(t.settings, name)
        if theirs != ours:
            raise InputError(
                f"Expected the GAN in {path} to have `gan.{name}` = {ours}, but it has {theirs}; "
                f"set `gan.{name}={theirs}` or train that GAN again."
            )
    rows = _rows(tree["classes"], t.images.classes)
    t.encoder.load_state_dict(tree["encoder"])
    _copy(t.generator, tree["generator"], {"class_style.weight": 1}, rows)
    for name, network in t.discriminators.items():
        if name in tree["discriminators"]:
            _copy(network, tree["discriminators"][name], dict(_by_class(network)), rows)


def _rows(theirs: list[str], ours: tuple[str, ...]) -> list[int | None]:
    """For each of our classes the position of the same name among theirs, or None."""
    return [theirs.index(name) if name in theirs else None for name in ours]


def _by_class(network: Discriminator) -> Iterator[tuple[str, int]]:
    """Names of the tensors with rows per class, and how many blocks of them there are."""
    twins = tuple(name for name, m in network.named_modules() if isinstance(m, TwinHead))
    for name in network.state_dict():
        if name.endswith("embedding.weight"):
            yield name, 1
        elif name.startswith(tuple(f"{twin}.score." for twin in twins)) and twins:
            yield name, 2


@torch.no_grad()
def _copy(
    network: torch.nn.Module, saved: dict[str, Any], by_class: dict[str, int],
    rows: list[int | None],
) -> None:  # fmt: skip
    for name, value in network.state_dict().items():
        theirs = saved.get(name)
        if theirs is None:
            continue
        if name in by_class:
            theirs = torch.cat([_reordered(x, rows) for x in theirs.chunk(by_class[name])])
        if theirs.shape == value.shape:
            value.copy_(theirs)


def _reordered(theirs: Tensor, rows: list[int | None]) -> Tensor:
    return torch.stack([theirs.mean(0) if k is None else theirs[k] for k in rows])
