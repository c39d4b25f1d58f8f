"""Training of the GAN on several devices and machines, see `sonobalance.parallel`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch

from sonobalance.config import GanSettings
from sonobalance.errors import SettingsError
from sonobalance.parallel import Crew, launch


def check_shares(settings: GanSettings, size: int) -> None:
    """Every process must get as many images and anchors as the others.

    Raises:
        SettingsError: the batch or its anchors cannot be shared evenly.
    """
    anchors = round(settings.anchor_share * settings.batch_size)
    if settings.batch_size % size or anchors % size:
        raise SettingsError(
            f"Expected `gan.batch_size` and its `anchor_share` to be multiples of {size} devices, "
            f"but got {settings.batch_size} images, {anchors} of them anchors."
        )


def train_on_devices(images: Any, settings: GanSettings, **given: Any) -> Path:
    """`train.train_gan` on `settings.devices` devices of each of `settings.nodes` machines.

    On several machines, run `train-gan` on each with MASTER_ADDR, MASTER_PORT and NODE_RANK set, on
    a shared folder.

    Raises:
        SonobalanceError: as `train.train_gan` does.
    """
    device = given.pop("device")
    check_shares(settings, settings.devices * settings.nodes)
    work = partial(_work, images=images, settings=settings, given=given)
    return launch(work, device, settings.devices, settings.nodes)


def _work(
    crew: Crew, device: torch.device, images: Any, settings: GanSettings, given: dict[str, Any]
) -> Path:
    from sonobalance.gan.train import train_gan  # noqa: PLC0415

    return train_gan(images, settings, device=device, crew=crew, **given)
