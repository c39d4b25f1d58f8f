"""What a run will cost, before it starts: counted FLOPs over the speed of this machine.

Each network's FLOPs are counted by one forward pass; the speed of this machine's CPU or GPU is
measured by one second of a typical convolution. `SHARE_OF_BOUND` says what share of that bare speed
the real loops reach; it and the seconds per image of the other stages are those of runs of CPUs on
BUSI such as `docs/results/busi-run.json`. On a CPU the estimate is meant to be right within a
factor of two; on a GPU nobody has compared it with a run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from sonobalance.arms import TREATMENTS, arms_of, need_generator
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.config import Arm, ClassifierSettings, GanSettings, Settings
from sonobalance.enlarging import enlarges
from sonobalance.gan.discriminators import make_discriminators
from sonobalance.gan.features import LOOK_SIDE, FrozenFeatures
from sonobalance.gan.snapshot import make_encoder, make_generator
from sonobalance.synthesis.enlarger import Enlarger

SHARE_OF_BOUND = {"gan": 0.55, "frozen": 0.4, "classifier": 0.4, "inference": 0.2}
AUDIT_SECONDS_PER_IMAGE = 0.2
SYNTHESIS_SECONDS_PER_IMAGE = 0.07  # and round: features, likeness, gates
EXPLAIN_PASSES = 140  # forward passes per explained image, curves and sanity checks included
BASE_MEMORY_GIB = 1.2  # interpreter, torch and the other libraries
CLASSES = 3  # the number of classes hardly matters for the cost


@dataclass(frozen=True)
class Cost:
    """What one stage is expected to take."""

    stage: str
    minutes: float
    memory_gib: float
    disk_mib: float


def estimate(images: int, settings: Settings) -> list[Cost]:
    """The cost of the expensive stages and their sum, for so many images, where they would run."""
    speed = convolution_flops_per_second(device_for(settings))
    train = images * (1 - settings.split.test_fraction - settings.split.val_fraction)
    costs = [
        Cost("audit", images * AUDIT_SECONDS_PER_IMAGE / 60, BASE_MEMORY_GIB, 5),
        *([_gan(settings, speed, images)] if need_generator(settings) else []),
        _classifiers(settings, train, speed, arms_of(settings)),
        _explanation(settings, images * settings.split.test_fraction, speed),
    ]
    return [*costs, _all_of("together", costs)]


def cost_of_units(images: int, settings: Settings, *, generators: int, arms: Sequence[Arm]) -> Cost:
    """What so many generators with their synthesis and a classifier of each arm take, one by one.

    The memory is that of the unit that needs most.
    """
    speed = convolution_flops_per_second(device_for(settings))
    train = images * (1 - 1 / settings.split.folds)
    costs = [_gan(settings, speed, images)] * generators
    costs.append(_classifiers(settings, train, speed, arms))
    return _all_of("units", costs)


def _all_of(name: str, costs: Sequence[Cost]) -> Cost:
    """One after the other: time and disk add up, the memory is that of the largest."""
    return Cost(
        name, sum(c.minutes for c in costs), max(c.memory_gib for c in costs),
        sum(c.disk_mib for c in costs),
    )  # fmt: skip


def device_for(settings: Settings) -> torch.device:
    """Where it would run here: on the CPU where there is no GPU, whatever is asked for."""
    gpu = settings.device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def words_for(settings: Settings) -> str:
    """Which processor an estimate is of, and how far it can be trusted."""
    if device_for(settings).type == "cpu":
        return "this machine's CPU"
    return "this machine's GPU (a guess: never compared with a run)"


def convolution_flops_per_second(device: torch.device, seconds: float = 1.0) -> float:
    """FLOP/s that a bare 3×3 convolution of 64 channels at 32×32 pixels reaches there."""
    conv = nn.Conv2d(64, 64, 3, padding=1, device=device).to(memory_format=torch.channels_last)
    images = torch.randn(16, 64, 32, 32, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        flops = _flops(conv, images)
        conv(images).mean().item()  # waits for the device
        begin, rounds = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            for _ in range(10):
                made = conv(images)
            made.mean().item()
            rounds += 10
    return flops * rounds / (time.perf_counter() - begin)


def gan_flops(settings: GanSettings) -> tuple[float, float]:
    """FLOPs per image of one warm-up step and of one adversarial step.

    A forward and backward pass counts as three forward passes.
    """
    size = settings.image_size_px
    image = torch.zeros(1, settings.channels, size, size)
    target = torch.zeros(1, dtype=torch.int64)
    generator = make_generator(settings, CLASSES)
    latent, noise = torch.randn(1, settings.latent_dim), torch.zeros(1, generator.noise_dim)
    make = _flops(generator, latent, target, noise)
    encode = _flops(make_encoder(settings), image)
    judges = make_discriminators(settings, CLASSES).values()
    judge = sum(_flops(network, image, target) for network in judges)
    return 3 * (make + encode), 3 * make + 9 * judge


def frozen_flops(settings: Settings) -> tuple[float, float]:
    """FLOPs per image of the frozen features in warm-up and game; 0 where none are used.

    Real images pass once; generated ones pass, and their gradient passes back to G. The game looks
    at them enlarged.
    """
    if not (settings.gan.feature_branch and settings.classifier.weights):
        return 0.0, 0.0
    side = settings.gan.image_size_px
    eyes = FrozenFeatures(settings.classifier.backbone, side)
    large = max(side, LOOK_SIDE)
    game = 3 * _flops(eyes, torch.zeros(1, 1, large, large))
    return game * (side / large) ** 2, game


def enlarger_flops(settings: Settings) -> tuple[float, float]:
    """FLOPs of learning from one pair: of the enlarger, and of the frozen features it is to match.

    Both are 0 where none is learnt. The wanted image passes the features once, the made one there
    and back.
    """
    if not enlarges(settings):
        return 0.0, 0.0
    small, large = settings.gan.image_size_px, settings.classifier.image_size_px
    eyes = FrozenFeatures(settings.classifier.backbone, large)
    made = _flops(Enlarger(small, large), torch.zeros(1, 1, small, small))
    return 3 * made, 3 * _flops(eyes.native, torch.zeros(1, 1, large, large))


def _gan(settings: Settings, speed: float, images: int) -> Cost:
    gan, rounds = settings.gan, settings.synthesis.rounds
    warmup, game = gan_flops(gan)
    anchored, played = _kimg(settings)
    flops = 1000 * (anchored * warmup + played * game)
    native, enlarged = frozen_flops(settings)
    frozen = 1000 * (anchored * native + played * enlarged)
    enlarger, seen = (1000 * settings.synthesis.enlarger_kimg * f for f in enlarger_flops(settings))
    flops, frozen = flops + enlarger, frozen + seen
    seconds = (flops / SHARE_OF_BOUND["gan"] + frozen / SHARE_OF_BOUND["frozen"]) / speed
    seconds += images * rounds * SYNTHESIS_SECONDS_PER_IMAGE
    memory = (
        BASE_MEMORY_GIB + 1.2 + gan.batch_size * gan.base_channels * gan.image_size_px**2 * 4e-8
    )
    return Cost("train-gan and synthesize", seconds / 60, memory, 100)


def _kimg(settings: Settings) -> tuple[float, float]:
    """Thousand images of warm-up and of the game, over all rounds of the synthesis."""
    gan, later = settings.gan, settings.synthesis.rounds - 1
    total = _whole_snapshots(gan.total_kimg, gan)
    if settings.synthesis.feed_back:  # each later round trains anew
        return gan.autoencoder_kimg * (1 + later), total * (1 + later)
    more = _whole_snapshots(settings.synthesis.gan_kimg_per_round, gan)
    return gan.autoencoder_kimg, total + more * later


def _whole_snapshots(kimg: float, gan: GanSettings) -> float:
    """What is trained where `kimg` is asked for: up to the next snapshot."""
    return gan.tick_kimg * gan.ticks(kimg)


def _classifiers(settings: Settings, images: float, speed: float, arms: Sequence[Arm]) -> Cost:
    classifier = settings.classifier
    passes = sum(_passes(TREATMENTS[arm].settings(classifier)) for arm in arms)
    flops = images * passes * _classifier_flops(settings)
    minutes = flops / speed / SHARE_OF_BOUND["classifier"] / 60
    memory = BASE_MEMORY_GIB + classifier.batch_size * (classifier.image_size_px / 224) ** 2 * 0.1
    return Cost("train", minutes, memory, 40 * len(arms))


def _passes(classifier: ClassifierSettings) -> int:
    """Forward passes of a TRAIN image in one training; one with its gradient counts as three."""
    if classifier.frozen:
        return 2  # the features of the image and of its mirror image
    tuning = classifier.epochs * classifier.members
    return 3 * tuning + classifier.head_epochs + classifier.outline_epochs


def _explanation(settings: Settings, images: float, speed: float) -> Cost:
    flops = images * EXPLAIN_PASSES * _looks(settings) * _classifier_flops(settings)
    minutes = flops / speed / SHARE_OF_BOUND["inference"] / 60
    return Cost("explain", minutes, BASE_MEMORY_GIB + 0.5, 10)


def _looks(settings: Settings) -> int:
    """Passes per prediction: of the image, of its enlarged part, to find the lesion in it."""
    classifier = settings.classifier
    if classifier.zoom_test == 1:
        return 1
    return 3 if classifier.zoom_on == "lesion" else 2


def _classifier_flops(settings: Settings) -> float:
    classifier = settings.classifier
    images = torch.zeros(1, 1, classifier.image_size_px, classifier.image_size_px)
    second = classifier.second_backbone if classifier.keep == "average" else None
    backbones = filter(None, (classifier.backbone, second))
    return sum(
        _flops(AttentiveClassifier(name, CLASSES, "none", classifier.image_size_px).eval(), images)
        for name in backbones
    )


def _flops(module: Callable[..., Any], *inputs: torch.Tensor) -> float:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(*inputs)
    return float(counter.get_total_flops())
