"""What a finished GAN is: averaged generator, discriminators and latent bank in one safe file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sonobalance.config import GanSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import InputError
from sonobalance.gan.discriminators import Discriminator, make_discriminators
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.latents import LatentBank
from sonobalance.gan.networks import Encoder, Generator
from sonobalance.state import load_state, save_state

FORMAT = 4


@dataclass(frozen=True)
class Snapshot:
    """A finished GAN.

    Attributes:
        settings: those of the training.
        classes: class names, alphabetical.
        ids: ids of the TRAIN images in the bank, in its order; those held back are not among them.
        train_hash: hex SHA-256 of ids, classes and pixels of the TRAIN images.
        kimg: thousand images seen in the adversarial phase.
        generator: the averaged one.
        discriminators: by name.
        bank: latents of the TRAIN images that the GAN learnt from.
        encoder: as the warm-up left it, for a warm start on another set.
        eyes: frozen features that discriminators with a branch also see; None without them.
    """

    settings: GanSettings
    classes: tuple[str, ...]
    ids: tuple[str, ...]
    train_hash: str
    kimg: float
    generator: Generator
    discriminators: dict[str, Discriminator]
    bank: LatentBank
    encoder: Encoder
    eyes: FrozenFeatures | None = None


def make_generator(settings: GanSettings, classes: int) -> Generator:
    """A new generator of these settings."""
    return Generator(
        settings.image_size_px,
        settings.base_channels,
        settings.latent_dim,
        classes,
        settings.channels,
    ).to(memory_format=torch.channels_last)


def make_encoder(settings: GanSettings) -> Encoder:
    """A new encoder of these settings."""
    return Encoder(
        settings.image_size_px, settings.base_channels, settings.latent_dim, settings.channels
    ).to(memory_format=torch.channels_last)


def hash_images(images: LabelledImages) -> str:
    """Hex SHA-256 of ids, classes, targets and pixels: which TRAIN images exactly."""
    digest = hashlib.sha256("\n".join((*images.classes, "", *images.ids)).encode())
    digest.update(images.targets.numpy().tobytes())
    digest.update(images.pixels.contiguous().numpy().tobytes())
    return digest.hexdigest()


def hash_masks(images: LabelledImages) -> str:
    """Hex SHA-256 of the masks of TRAIN images, for a generator that learns them."""
    masks = images.known_outlines().masks
    return hashlib.sha256(masks.contiguous().numpy().tobytes()).hexdigest()


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Write atomically."""
    bank, eyes = snapshot.bank, snapshot.eyes
    save_state(path, {
        "format": FORMAT,
        "settings": snapshot.settings.model_dump(mode="json", exclude={"init", "devices", "nodes"}),
        "classes": list(snapshot.classes),
        "ids": list(snapshot.ids),
        "train_hash": snapshot.train_hash,
        "kimg": snapshot.kimg,
        "generator": snapshot.generator.state_dict(),
        "encoder": snapshot.encoder.state_dict(),
        "discriminators": {k: d.state_dict() for k, d in snapshot.discriminators.items()},
        "eyes": None if eyes is None else {"name": eyes.name, "state": eyes.state_dict()},
        "bank": {"latents": bank.latents, "targets": bank.targets, "frames": bank.frames},
    })  # fmt: skip


def read_tree(path: Path) -> dict[str, Any]:
    """What `write_snapshot` wrote.

    Raises:
        InputError: the file is missing, damaged, or not a snapshot of this version.
    """
    tree = load_state(path)
    if tree.get("format") != FORMAT or "generator" not in tree:
        raise InputError(
            f"Expected {path} to be a GAN snapshot of format {FORMAT}; train it again."
        )
    return tree


def read_snapshot(path: Path, device: torch.device) -> Snapshot:
    """Read a snapshot, with its networks on `device` and in evaluation mode.

    Raises:
        InputError: the file is missing, damaged, or not a snapshot of this version.
    """
    tree = read_tree(path)
    try:
        snapshot = _restored(tree)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"Expected {path} to be a whole GAN snapshot of this version, but it is not "
            f"({str(error).splitlines()[0]}); train it again."
        ) from error
    eyes = [snapshot.eyes] if snapshot.eyes else []
    for network in (
        snapshot.generator, snapshot.encoder, *snapshot.discriminators.values(), *eyes
    ):  # fmt: skip
        network.to(device).eval().requires_grad_(False)
    return snapshot


def _restored(tree: dict[str, Any]) -> Snapshot:
    settings = GanSettings.model_validate(tree["settings"])
    classes = tuple(tree["classes"])
    generator = make_generator(settings, len(classes))
    generator.load_state_dict(tree["generator"])
    eyes = _eyes(tree["eyes"], settings)
    discriminators = make_discriminators(settings, len(classes), eyes)
    for name, discriminator in discriminators.items():
        discriminator.load_state_dict(tree["discriminators"][name])
    encoder = make_encoder(settings)
    encoder.load_state_dict(tree["encoder"])
    return Snapshot(
        settings, classes, tuple(tree["ids"]), tree["train_hash"], tree["kimg"], generator,
        discriminators, LatentBank(**tree["bank"]), encoder, eyes,
    )  # fmt: skip


def _eyes(saved: dict[str, Any] | None, settings: GanSettings) -> FrozenFeatures | None:
    if saved is None:
        return None
    return FrozenFeatures.restored(saved["name"], settings.image_size_px, saved["state"])
