"""The same training on several devices: each takes its share of every batch.

All random numbers of a step are drawn for the whole batch on every device, each keeps its rows, and
gradients are added up: N devices take the same steps as one, up to the order of summation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copytree
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sonobalance import errors
from sonobalance.errors import SettingsError, SonobalanceError
from sonobalance.files import read_json, write_json
from sonobalance.progress import console

T = TypeVar("T")


@dataclass(frozen=True)
class Crew:
    """This process among those that train together; the first one alone writes files.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def present(cls) -> Crew:
        """The processes that `launch` started, of which this is one; else this one alone."""
        return cls(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else cls()

    @property
    def first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def share(self, rows: Tensor) -> Tensor:
        """Its rows of something drawn for the whole batch: every `size`-th."""
        return rows[self.rank :: self.size]

    def add_gradients(self, parameters: Iterable[nn.Parameter], out_of: int = 1) -> None:
        """Replace each gradient by its sum over all processes, divided by `out_of`."""
        if self.size > 1:
            with _as_one([p.grad for p in parameters if p.grad is not None]) as flat:
                dist.all_reduce(flat)
                flat.div_(out_of)

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace each gradient by its mean over all processes."""
        self.add_gradients(parameters, out_of=self.size)

    def total(self, value: Tensor) -> Tensor:
        """The sum of a detached scalar over all processes."""
        if self.size == 1:
            return value
        total = value.clone()
        dist.all_reduce(total)
        return total

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

    def follow_first(self, network: nn.Module) -> None:
        """Give a network the weights that it has in the first process."""
        if self.size > 1:
            state = network.state_dict().values()
            with _as_one([value for value in state if value.is_floating_point()]) as flat:
                dist.broadcast(flat, 0)

    def wait(self) -> None:
        """Go on when all processes have come to this point."""
        if self.size > 1:
            dist.barrier()

    @contextmanager
    def place(self, folder: Path) -> Iterator[Path]:
        """Where this process writes: the folder itself, or for all but the first one thrown away.

        What the folder holds can be read in both; `wait` before any of it is removed.
        """
        if self.first:
            yield folder
            return
        with TemporaryDirectory() as name:
            copytree(folder.absolute(), name, dirs_exist_ok=True)
            yield Path(name)


@contextmanager
def _as_one(tensors: list[Tensor]) -> Iterator[Tensor]:
    """All numbers of some tensors in one row, to be sent as one message; its changes are theirs."""
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    yield flat
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))


def launch(
    work: Callable[[Crew, torch.device], T], device: torch.device, devices: int, nodes: int = 1
) -> T:
    """Call `work` in one process for each device, and return what the first one makes.

    Args:
        work: can be pickled; gets the processes and its own device.
        device: which kind, `cpu` or `cuda`.
        devices: how many on each machine.
        nodes: machines; the same program runs on each.

    Raises:
        SettingsError: this machine has fewer GPUs.
        SonobalanceError: as `work` does.
    """
    from lightning_fabric import Fabric  # noqa: PLC0415
    from lightning_fabric.plugins.environments import LightningEnvironment  # noqa: PLC0415
    from lightning_fabric.strategies import DDPStrategy  # noqa: PLC0415

    if device.type == "cuda" and devices > torch.cuda.device_count():
        raise SettingsError(
            f"Expected at most {torch.cuda.device_count()} devices, the GPUs of this machine, but "
            f"got {devices}; lower `gan.devices` or `classifier.devices`."
        )
    fabric = Fabric(
        accelerator=device.type, devices=devices, num_nodes=nodes,
        strategy=DDPStrategy(start_method="spawn"),
        plugins=[LightningEnvironment()],  # Slurm's would take each process for the only one
    )  # fmt: skip
    with TemporaryDirectory() as place:
        try:
            found: T = fabric.launch(partial(_guarded, work=work, place=Path(place)))
        except Exception:
            for path in sorted(Path(place).glob("*.json")):
                told = read_json(path)
                raise getattr(errors, told["kind"])(told["text"]) from None
            raise
    return found


def _guarded(fabric: Any, work: Callable[[Crew, torch.device], T], place: Path) -> T:
    """What one process tells the user is written down, then raised.

    The launcher ends the other processes, which may wait for this one, and hands on a text.
    """
    crew = Crew.present()
    console.quiet = not crew.first
    try:
        return work(crew, fabric.device)
    except SonobalanceError as error:
        told = {"kind": type(error).__name__, "text": str(error)}
        write_json(place / f"{crew.rank:06d}.json", told)
        raise
