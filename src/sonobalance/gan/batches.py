"""The random inputs of each step: all drawn from (seed, step), so a resumed run draws the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sonobalance.config import GanSettings
from sonobalance.data.loading import LabelledImages, to_pixels, to_unit
from sonobalance.gan.augment import DRAWS, augment
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.framing import fill, find_frames, with_masks
from sonobalance.gan.latents import ClassRows, LatentBank, draw
from sonobalance.gan.networks import Generator
from sonobalance.gan.phases import Batch, WarmupBatch
from sonobalance.parallel import Crew
from sonobalance.randomness import torch_generator


@dataclass(frozen=True)
class Choice:
    """Which images: targets, positions and whether mirrored (0 or 1), each (N,) int64."""

    targets: Tensor
    places: Tensor
    flips: Tensor


@dataclass(frozen=True)
class TrainSet:
    """TRAIN images without their letterbox bars.

    Attributes:
        pixels: (N, C, S, S) uint8, on the training device.
        targets: (N,) int64, on the CPU.
        frames: (N, 4) int64, on the CPU; see `framing.find_frames`.
        rows: positions by class.
        present: (K,) int64: the classes that have images.
        seed: of the training.
    """

    pixels: Tensor
    targets: Tensor
    frames: Tensor
    rows: ClassRows
    present: Tensor
    seed: int

    @classmethod
    def of(
        cls, images: LabelledImages, settings: GanSettings, seed: int, device: torch.device
    ) -> TrainSet:
        """Strip the bars and move the pixels to the device."""
        frames = find_frames(images.pixels)
        stacked = with_masks(images, settings.synthesize_masks)
        pixels = to_pixels(fill(stacked, frames)).to(device)
        rows = ClassRows(images.targets, len(images.classes))
        return cls(pixels, images.targets, frames, rows, images.targets.unique(), seed)

    def take(self, places: Tensor, flips: Tensor) -> Tensor:
        """Images (M, C, S, S) float32 in [-1, 1] at `places`, mirrored where `flips` is 1."""
        images = to_unit(self.pixels[places.to(self.pixels.device)])
        mirrored = flips.to(images.device).bool()[:, None, None, None]
        return torch.where(mirrored, images.flip(3), images)

    def choose(self, n: int, generator: torch.Generator) -> Choice:
        """`n` images, uniform over classes, mirrored at random."""
        drawn = torch.randint(len(self.present), (n,), generator=generator)
        targets = self.present[drawn]
        places = self.rows.pick(targets, torch.rand(n, generator=generator))
        return Choice(targets, places, torch.randint(2, (n,), generator=generator))


def warmup_batch(
    train: TrainSet, settings: GanSettings, noise_dim: int, step: int, crew: Crew
) -> WarmupBatch:
    """The inputs of one step of the autoencoder."""
    generator = torch_generator(train.seed, "gan", "warm-up", step)
    choice = train.choose(settings.batch_size, generator)
    n = len(choice.targets)
    offsets = torch.randn(n, settings.latent_dim, generator=generator)
    noise = torch.randn(n, noise_dim, generator=generator)
    images = train.take(crew.share(choice.places), crew.share(choice.flips))
    rest = (crew.share(x).to(images.device) for x in (choice.targets, offsets, noise))
    return WarmupBatch(images, *rest)


def adversarial_batch(
    train: TrainSet,
    bank: LatentBank,
    generator: Generator,
    eyes: FrozenFeatures | None,
    settings: GanSettings,
    *,
    probability: float,
    step: int,
    crew: Crew,
) -> Batch:
    """The inputs of one step of the game; the generated images serve D1, D2 and G alike.

    The first `anchor_share` of the generated images descend from one TRAIN image each.
    """
    random = torch_generator(train.seed, "gan", "adversarial", step)
    choice = train.choose(settings.batch_size, random)
    n = len(choice.targets)
    draws = draw(random, n, settings.parents, settings.latent_dim, generator.noise_dim)
    changes = torch.rand(2, n, DRAWS, generator=random)
    anchors = round(settings.anchor_share * n)
    draws.weights[:anchors] = torch.eye(settings.parents)[0]
    parents = train.rows.pick(choice.targets, draws.rows)
    latents = bank.mix(parents, draws, settings.latent_noise)
    device, anchors = train.pixels.device, anchors // crew.size
    targets, latents, noise = (
        crew.share(x).to(device) for x in (choice.targets, latents, draws.noise)
    )
    real = train.take(crew.share(choice.places), crew.share(choice.flips))
    real = augment(real, probability, crew.share(changes[0]))
    fake = generator(latents, targets, noise)
    shown = augment(fake, probability, crew.share(changes[1]))
    parents, flips = crew.share(parents)[:anchors, 0], crew.share(draws.flips)[:anchors, 0]
    return Batch(
        targets=targets,
        real=real,
        fake=shown,
        anchors=train.take(parents, flips),
        anchored=fake[:anchors],
        real_seen=_seen(eyes, real),
        fake_seen=_seen(eyes, shown),
    )


def _seen(eyes: FrozenFeatures | None, images: Tensor) -> list[Tensor] | None:
    return None if eyes is None else eyes(images)


@torch.no_grad()
def evaluation_images(
    train: TrainSet, bank: LatentBank, generator: Generator, settings: GanSettings, per_class: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The same `per_class` latents of each class at every snapshot, as images.

    Returns:
        Images (N, C, S, S) float32 in [-1, 1] on the device, targets (N,) and frames (N, 4).
    """
    generator.eval()
    random = torch_generator(train.seed, "gan", "evaluation")
    targets = train.present.repeat_interleave(per_class)
    k, dim = settings.parents, settings.latent_dim
    draws = draw(random, len(targets), k, dim, generator.noise_dim)
    parents = train.rows.pick(targets, draws.rows)
    latents = bank.mix(parents, draws, settings.latent_noise)
    device = train.pixels.device
    parts = [
        generator(*(x.to(device) for x in part))
        for part in zip(
            *(x.split(settings.batch_size) for x in (latents, targets, draws.noise)), strict=True
        )
    ]
    return torch.cat(parts), targets, bank.frame_of(parents, draws.weights)
