"""One step of the warm-up and one of the game."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sonobalance.config import GanSettings
from sonobalance.gan.batches import adversarial_batch, warmup_batch
from sonobalance.gan.phases import run_phases
from sonobalance.gan.training import Training


def warmup_steps(settings: GanSettings) -> int:
    """Steps of the autoencoder."""
    return round(settings.autoencoder_kimg * 1000 / settings.batch_size)


def warmup_step(t: Training) -> dict[str, Tensor]:
    """One step of the autoencoder; returns what to log."""
    step, noise_dim = t.counters.warmup_steps, t.generator.noise_dim
    batch = warmup_batch(t.train, t.settings, noise_dim, step, t.crew)
    for group in t.warmup[0].optimiser.param_groups:
        group["lr"] = _warmup_lr(t.settings, t.counters.warmup_steps)
    logged = run_phases(t.warmup, batch, t.counters.warmup_steps, t.crew)
    t.counters.warmup_steps += 1
    return logged


def _warmup_lr(settings: GanSettings, step: int) -> float:
    """Linear rise over the first twentieth, then half a cosine down to a twentieth of the rate."""
    progress = (step + 1) / warmup_steps(settings)
    cosine = 0.05 + 0.95 * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return settings.autoencoder_lr * min(1.0, 20 * progress) * cosine


def game_step(t: Training) -> dict[str, Tensor]:
    """One step of every discriminator and of G; returns what to log."""
    assert t.bank is not None  # noqa: S101
    settings = t.settings
    fade = min(1.0, t.kimg / settings.fade_kimg) if settings.fade_kimg else 1.0
    for network in t.discriminators.values():
        network.fade(fade)
    batch = adversarial_batch(
        t.train, t.bank, t.generator, t.branch, settings,
        probability=t.counters.probability, step=t.counters.steps, crew=t.crew,
    )  # fmt: skip
    logged = run_phases(t.game, batch, t.counters.steps, t.crew)
    t.counters.steps += 1
    _average(t)
    return logged


@torch.no_grad()
def _average(t: Training) -> None:
    """Exponential average of G; its half-life grows with the images seen, up to the setting."""
    halflife_kimg = min(t.settings.ema_halflife_kimg, t.kimg / 2)
    keep = 0.5 ** (t.settings.batch_size / 1000 / halflife_kimg)
    torch._foreach_lerp_([*t.average.parameters()], [*t.generator.parameters()], 1 - keep)
