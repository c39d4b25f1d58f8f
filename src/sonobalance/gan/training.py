"""The state of a training: networks, optimisers, counters; made, saved and loaded as one."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from sonobalance.config import GanSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import StaleError
from sonobalance.gan.batches import TrainSet
from sonobalance.gan.discriminators import Discriminator, make_discriminators
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.held import Held, Ruler, hold_back
from sonobalance.gan.latents import LatentBank
from sonobalance.gan.networks import Encoder, Generator
from sonobalance.gan.phases import Phase, adversarial_phases, warmup_phases
from sonobalance.gan.snapshot import (
    FORMAT,
    Snapshot,
    hash_images,
    hash_masks,
    make_encoder,
    make_generator,
    write_snapshot,
)
from sonobalance.parallel import Crew
from sonobalance.randomness import seed_torch
from sonobalance.state import load_state, save_state

APART = {"init", "devices", "nodes"}  # settings that say where and how, not what


@dataclass
class Counters:
    """The plain numbers of a training.

    Attributes:
        warmup_steps, steps: done in the warm-up and in the adversarial phase.
        probability: present chance of each augmentation.
        best: least kernel distance of a snapshot so far, and its kimg; None before the first.
        low_ticks: snapshots in a row with too little diversity or too much repetition, or in which
            no discriminator taught anything.
        stopped: why the training ended early; empty while it may go on.
        goal: steps of the adversarial phase that were last asked for.
        collapsed: whether it ended because the generated images collapsed, because nothing was left
            to learn, or because it broke down.
        broken: whether it ended because a number became infinite or not a number.
        seconds: spent so far.
        kid: kernel distance of the last snapshot; None before the first.
        streaks: snapshots in a row in which something was worth a warning, by what it was.
        warnings: the sentences that were printed, by what they are about.
    """

    probability: float
    warmup_steps: int = 0
    steps: int = 0
    best: float | None = None
    best_kimg: float = 0.0
    low_ticks: int = 0
    stopped: str = ""
    goal: int = 0
    collapsed: bool = False
    broken: bool = False
    seconds: float = 0.0
    kid: float | None = None
    streaks: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)


@dataclass
class Training:
    """Everything that changes while training, and what it is trained on.

    Attributes:
        images: what the GAN learns from: TRAIN without the part held back.
        held: what it is measured on.
        eyes: frozen pretrained features; None without weights.
        crew: the processes that train together.
        started_from: SHA-256 of the snapshot of another GAN; empty for a start from scratch.
        bank: made by the warm-up.
        ruler: made at the first snapshot.
    """

    images: LabelledImages
    held: Held
    settings: GanSettings
    seed: int
    train: TrainSet
    train_hash: str
    encoder: Encoder
    generator: Generator
    average: Generator
    discriminators: dict[str, Discriminator]
    warmup: list[Phase]
    game: list[Phase]
    counters: Counters
    eyes: FrozenFeatures | None = None
    crew: Crew = field(default_factory=Crew)
    started_from: str = ""
    bank: LatentBank | None = None
    ruler: Ruler | None = None

    @property
    def branch(self) -> FrozenFeatures | None:
        """The frozen features, if a discriminator may see them."""
        return self.eyes if self.settings.feature_branch else None

    @property
    def kimg(self) -> float:
        """Thousand real images shown in the adversarial phase."""
        return self.counters.steps * self.settings.batch_size / 1000

    @property
    def identity(self) -> str:
        """Hash of all that the result depends on, except how long it is trained."""
        settings = self.settings.model_dump(mode="json", exclude={"total_kimg", *APART})
        seen = None if self.eyes is None else [self.eyes.name, self.eyes.digest]
        learnt = [self.train_hash, self.images.ids, settings, self.seed, seen, self.started_from]
        if self.settings.synthesize_masks:
            learnt.append(hash_masks(self.images))
        text = json.dumps([FORMAT, *learnt], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def networks(self) -> dict[str, nn.Module]:
        """All that the training changes, by the names used in logs."""
        own = {"G": self.generator, "average": self.average, "encoder": self.encoder}
        return own | self.discriminators

    def not_finite(self) -> list[str]:
        """What holds a number that is not finite: networks, or the latents of the bank."""
        held = {name: network.state_dict().values() for name, network in self.networks.items()}
        latents = [] if self.bank is None else [self.bank.latents]
        return [k for k, v in (*held.items(), ("latents", latents)) if not _finite(v)]

    def present_targets(self) -> Tensor:
        """Targets (N,) of the TRAIN images on the training device."""
        return self.train.targets.to(self.train.pixels.device)


def start(
    images: LabelledImages,
    groups: Sequence[str],
    settings: GanSettings,
    *,
    seed: int,
    device: torch.device,
    eyes: FrozenFeatures | None,
) -> Training:
    """A fresh training, its networks initialised from the seed."""
    fit, held = hold_back(images, groups, settings.held_back, seed)
    classes = len(images.classes)
    seed_torch(seed, "gan", "initialisation")
    encoder = make_encoder(settings)
    generator = make_generator(settings, classes)
    branch = eyes if settings.feature_branch else None
    discriminators = make_discriminators(settings, classes, branch)
    for network in (encoder, generator, *discriminators.values(), *([eyes] if eyes else [])):
        network.to(device)
    for network in discriminators.values():
        network.to(memory_format=torch.channels_last).requires_grad_(False)
    average = copy.deepcopy(generator).eval().requires_grad_(False)
    return Training(
        fit, held, settings, seed, TrainSet.of(fit, settings, seed, device), hash_images(images),
        encoder, generator, average, discriminators,
        warmup_phases(encoder, generator, settings, eyes),
        adversarial_phases(discriminators, generator, settings),
        Counters(settings.augment_probability), eyes,
    )  # fmt: skip


def save(path: Path, t: Training) -> None:
    """Write the checkpoint atomically; the first process does."""
    if not t.crew.first:
        return
    bank = t.bank
    save_state(path, {
        "identity": t.identity,
        "counters": asdict(t.counters),
        "encoder": t.encoder.state_dict(),
        "generator": t.generator.state_dict(),
        "average": t.average.state_dict(),
        "discriminators": {name: d.state_dict() for name, d in t.discriminators.items()},
        "optimisers": {p.name: p.optimiser.state_dict() for p in _optimised(t)},
        "latents": None if bank is None else bank.latents,
    })  # fmt: skip


def resume(path: Path, t: Training) -> None:
    """Bring a fresh training to the state of a checkpoint.

    Raises:
        StaleError: the checkpoint is of other images, settings, weights or another seed.
        InputError: the file is damaged.
    """
    tree = load_state(path)
    if tree.get("identity") != t.identity:
        raise StaleError(
            f"Expected {path} to be of these images, settings, weights and seed, but it was "
            "made from others; use another --out or remove that folder."
        )
    t.counters = Counters(**tree["counters"])
    for name, network in (
        ("encoder", t.encoder),
        ("generator", t.generator),
        ("average", t.average),
    ):
        network.load_state_dict(tree[name])
    for name, discriminator in t.discriminators.items():
        discriminator.load_state_dict(tree["discriminators"][name])
    for phase in _optimised(t):
        phase.optimiser.load_state_dict(tree["optimisers"][phase.name])
        _lay_out_alike(phase.optimiser)
    if tree["latents"] is not None:
        t.bank = LatentBank(tree["latents"], t.train.targets, t.train.frames)


def abandon(path: Path, t: Training, reason: str) -> None:
    """End a training that broke down at its last checkpoint.

    The weights there stay as they are and only its counters learn why it ended, so that called
    again it neither trains the same steps once more nor looks as if it could go on. Without a
    checkpoint it is back before its first step. The networks in memory are not good for anything.
    """
    tree = load_state(path) if t.crew.first and path.is_file() else None
    last = Counters(**tree["counters"]) if tree else Counters(t.settings.augment_probability)
    last = replace(
        last, stopped=reason, collapsed=True, broken=True, goal=t.counters.goal,
        seconds=t.counters.seconds,
    )  # fmt: skip
    if tree:
        save_state(path, tree | {"counters": asdict(last)})
    told = t.crew.told_by_first(asdict(last), t.train.pixels.device)
    t.counters = Counters(**told)


def publish(path: Path, t: Training) -> None:
    """Write the averaged generator and the present discriminators as a snapshot."""
    assert t.bank is not None  # noqa: S101
    write_snapshot(path, Snapshot(
        t.settings, t.images.classes, t.images.ids, t.train_hash, t.kimg, t.average,
        t.discriminators, t.bank, t.encoder, t.branch,
    ))  # fmt: skip


def _finite(tensors: Iterable[Tensor]) -> bool:
    return all(bool(x.isfinite().all()) for x in tensors)


def _lay_out_alike(optimiser: torch.optim.Optimizer) -> None:
    """Give each moment the memory layout of its parameter: fused steps walk both side by side."""
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter).copy_(value)


def _optimised(t: Training) -> list[Phase]:
    """One phase per optimiser: a lazy penalty shares its discriminator's."""
    firsts = {id(phase.optimiser): phase for phase in reversed([*t.warmup, *t.game])}
    return list(firsts.values())
