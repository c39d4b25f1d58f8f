"""The same training on several devices: each takes its share of every batch.

All random numbers of a step are drawn for the whole batch on every device, each keeps its rows, and
gradients are averaged: N devices take the same steps as one, up to the order of summation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sonobalance.config import GanSettings
from sonobalance.errors import SettingsError, SonobalanceError


@dataclass(frozen=True)
class Crew:
    """This process among those that train together; the first one alone writes files.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """Its rows of something drawn for the whole batch: every `size`-th."""
        return rows[self.rank :: self.size]

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes, in one message."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        parts = flat.split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def mean(self, row: dict[str, float], device: torch.device) -> dict[str, float]:
        """The mean of every logged value over all processes."""
        if self.size == 1:
            return row
        values = torch.tensor(list(row.values()), dtype=torch.float32, device=device)
        dist.all_reduce(values)
        return dict(zip(row, (values / self.size).tolist(), strict=True))

    def told_by_first(self, value: dict[str, Any], device: torch.device) -> dict[str, Any]:
        """The first process's value (of JSON types), on every process; nothing is pickled."""
        if self.size == 1:
            return value
        text = json.dumps(value).encode()
        length = torch.tensor([len(text)], device=device)
        dist.broadcast(length, 0)
        letters = torch.zeros(int(length), dtype=torch.uint8, device=device)
        if self.first:
            letters.copy_(torch.frombuffer(bytearray(text), dtype=torch.uint8))
        dist.broadcast(letters, 0)
        told: dict[str, Any] = json.loads(bytes(letters.cpu().tolist()))
        return told


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
    from lightning_fabric import Fabric  # noqa: PLC0415
    from lightning_fabric.strategies import DDPStrategy  # noqa: PLC0415

    device = given.pop("device")
    check_shares(settings, settings.devices * settings.nodes)
    fabric = Fabric(
        accelerator=device.type, devices=settings.devices, num_nodes=settings.nodes,
        strategy=DDPStrategy(start_method="spawn"),
    )  # fmt: skip
    work = partial(_work, images=images, settings=settings, given=given)
    found: Path | SonobalanceError = fabric.launch(work)
    if isinstance(found, SonobalanceError):
        raise found
    return found


def _work(
    fabric: Any, images: Any, settings: GanSettings, given: dict[str, Any]
) -> Path | SonobalanceError:
    """The errors meant for the user are handed over: raised here, they would arrive as a text."""
    from sonobalance.gan.train import train_gan  # noqa: PLC0415

    crew = Crew(fabric.global_rank, fabric.world_size)
    try:
        return train_gan(images, settings, device=fabric.device, crew=crew, **given)
    except SonobalanceError as error:
        return error
