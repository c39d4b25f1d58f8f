"""What the loop needs of a generator, and the GAN behind that interface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from sonobalance.config import GanSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import CollapseError
from sonobalance.files import copy_file, read_json, sha256_of
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.judging import STATS
from sonobalance.gan.places import REPORT, SNAPSHOT
from sonobalance.gan.sampling import Sampler, Samples
from sonobalance.gan.train import CHECKPOINT, train_gan
from sonobalance.progress import console
from sonobalance.state import load_state, save_state

GENERATORS = "generators"  # folder inside RUN/synthesis


def snapshot_name(number: int) -> str:
    """File of the generator of a round."""
    return f"round-{number}.safetensors"


class ImageSource(Protocol):
    """A source of labelled images.

    An image must depend on the source, its target, `seed` and its index alone.
    """

    def sample(self, targets: Tensor, *, seed: int, truncation: float = 1.0) -> Samples:
        """One image per target (N,) int64, with the TRAIN images it descends from."""
        ...

    def log_ratios(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Two estimates of log p/q, each (N,) float32, of (N, 1, S, S) uint8 images."""
        ...


class ImageGenerator(ImageSource, Protocol):
    """A source that may go on learning between rounds."""

    @property
    def fingerprint(self) -> str:
        """Hash of all that images depend on besides target, seed and index."""
        ...

    @property
    def learnt(self) -> tuple[str, ...]:
        """Ids of the images that it and its discriminators were trained with."""
        ...

    def advance(self, number: int, accepted: LabelledImages | None = None) -> None:
        """Become the generator of this round, 1 being the first and 0 the same; idempotent.

        Args:
            number: of the round.
            accepted: synthetic images that it is to learn from too; see `feed_back`.
        """
        ...


@dataclass
class GanGenerator:
    """The GAN of a run, going on in a copy of its folder so that the run's own stays as it is.

    Each round's snapshot is kept as `generators/round-N.safetensors`: with seed, index and class it
    makes the same image again.

    Attributes:
        train: TRAIN images that the GAN was trained with.
        settings: of the GAN.
        seed: of the GAN's training.
        gan: folder of the trained GAN (read only).
        folder: where the copy and the snapshots of the rounds live.
        kimg_per_round: thousand real images shown before each later round, rounded up to whole
            snapshots; 0 keeps the GAN.
        device: where the networks live.
        groups: key of relatives of each TRAIN image.
        eyes: frozen features that the GAN was trained with.
    """

    train: LabelledImages
    settings: GanSettings
    seed: int
    gan: Path
    folder: Path
    kimg_per_round: float
    device: torch.device
    groups: Sequence[str] | None = None
    eyes: FrozenFeatures | None = None
    _sampler: Sampler | None = field(default=None, init=False)
    _hash: str = field(default="", init=False)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the snapshot in use."""
        return self._hash

    @property
    def learnt(self) -> tuple[str, ...]:
        """Ids in the snapshot's bank; TRAIN images held back are not among them."""
        return self._loaded.snapshot.ids

    def advance(self, number: int, accepted: LabelledImages | None = None) -> None:
        """Train up to this round (resuming where it was killed) and load its snapshot."""
        kept = self.folder / snapshot_name(number) if number else self.gan / SNAPSHOT
        if not kept.is_file():
            fed = number > 1 and accepted is not None and len(accepted) > 0
            found = self._fed(number, accepted) if fed and accepted else self._trained(number)
            copy_file(found, kept)
        self._sampler, self._hash = Sampler.load(kept, self.device), sha256_of(kept)

    def sample(self, targets: Tensor, *, seed: int, truncation: float = 1.0) -> Samples:
        """See `gan.sampling.Sampler.sample`."""
        return self._loaded.sample(targets, seed=seed, truncation=truncation)

    def log_ratios(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """See `gan.sampling.Sampler.log_ratios`."""
        return self._loaded.log_ratios(pixels, targets)

    @property
    def _loaded(self) -> Sampler:
        if self._sampler is None:
            self.advance(0)
        assert self._sampler is not None  # noqa: S101
        return self._sampler

    def _fed(self, number: int, accepted: LabelledImages) -> Path:
        """A snapshot trained anew on TRAIN and the accepted images; nothing is held back.

        Held-back images would be chosen among the synthetic ones as well. Where it collapses, the
        round keeps the generator of the one before.
        """
        settings = self.settings.model_copy(update={"held_back": 0.0})
        real = list(self.train.ids if self.groups is None else self.groups)
        try:
            return train_gan(
                self.train.join(accepted), settings, seed=self.seed,
                folder=self.folder / f"fed-{number}", device=self.device,
                groups=[*real, *accepted.ids], eyes=self.eyes,
            )  # fmt: skip
        except CollapseError as error:
            console.print(f"  {error} Round {number} keeps the generator of round {number - 1}.")
            return self.folder / snapshot_name(number - 1)

    def _trained(self, number: int) -> Path:
        """The snapshot of a round, trained on if need be."""
        if number == 1 or self.kimg_per_round == 0:
            return self.gan / SNAPSHOT
        work = self.folder / "training"
        if not (work / CHECKPOINT).is_file():
            for name in (SNAPSHOT, STATS):
                copy_file(self.gan / name, work / name)
            begin = load_state(self.gan / CHECKPOINT)
            begin["counters"]["goal"] = 0  # rounds count from where it ended, which may be before
            save_state(work / CHECKPOINT, begin)  # last: with it the copy is whole
        seen = 1000 * read_json(self.gan / REPORT)["kimg"] / self.settings.batch_size
        ticks = round(seen / self.settings.tick_steps)
        ticks += (number - 1) * self.settings.ticks(self.kimg_per_round)
        return train_gan(
            self.train, self.settings, seed=self.seed, folder=work, device=self.device,
            total_kimg=ticks * self.settings.tick_kimg, groups=self.groups, eyes=self.eyes,
        )  # fmt: skip
