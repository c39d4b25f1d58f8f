"""The game as a list of phases: a second discriminator is a row here, not a copy of the loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sonobalance.config import GanSettings
from sonobalance.gan import losses
from sonobalance.gan.discriminators import Discriminator
from sonobalance.gan.networks import Encoder, Generator, unit_rms

Outcome = tuple[Tensor, dict[str, Tensor]]  # loss, and what to log


@dataclass(frozen=True)
class Batch:
    """What one step is about; images are (N, 1, S, S) float32 in [-1, 1].

    Attributes:
        targets: (N,) int64 class of each real and each generated image.
        real: TRAIN images, augmented.
        fake: generated images, augmented; carry the gradient to G.
        anchors: the TRAIN images that the first generated ones must resemble, (M, 1, S, S).
        anchored: these first M generated images, not augmented.
    """

    targets: Tensor
    real: Tensor
    fake: Tensor
    anchors: Tensor
    anchored: Tensor


@dataclass(frozen=True)
class WarmupBatch:
    """Images (N, 1, S, S) float32 in [-1, 1], their classes, and the random numbers of a step."""

    images: Tensor
    targets: Tensor
    offsets: Tensor
    noise: Tensor


@dataclass(frozen=True)
class Phase:
    """One row of the loop: minimise `loss` over `modules` every `interval` steps."""

    name: str
    modules: tuple[nn.Module, ...]
    optimiser: torch.optim.Optimizer
    loss: Callable[..., Outcome]
    interval: int = 1


def run_phases(phases: list[Phase], batch: Batch | WarmupBatch, step: int) -> dict[str, Tensor]:
    """The one inner step: each due phase minimises its loss once; returns what to log."""
    logged: dict[str, Tensor] = {}
    for phase in phases:
        if step % phase.interval:
            continue
        with learning(phase.modules):
            loss, notes = phase.loss(batch)
            phase.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            phase.optimiser.step()
        logged |= {f"loss_{phase.name}": loss.detach(), **notes}
    return logged


@contextmanager
def learning(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Collect gradients for the discriminators of a phase only inside that phase."""
    frozen = [m for m in modules if isinstance(m, Discriminator)]
    for module in frozen:
        module.requires_grad_(True)
    try:
        yield
    finally:
        for module in frozen:
            module.requires_grad_(False)


def warmup_phases(encoder: Encoder, generator: Generator, settings: GanSettings) -> list[Phase]:
    """The autoencoder: noisy latents, so that neighbours of a latent decode to images too."""

    def loss(batch: WarmupBatch) -> Outcome:
        latents = unit_rms(encoder(batch.images) + settings.latent_noise * batch.offsets)
        decoded = generator(latents, batch.targets, batch.noise)
        return losses.reconstruction_loss(batch.images, decoded), {}

    parameters = [*encoder.parameters(), *generator.parameters()]
    optimiser = torch.optim.Adam(parameters, settings.autoencoder_lr, betas=(0.9, 0.99))
    return [Phase("autoencoder", (encoder, generator), optimiser, loss)]


def adversarial_phases(
    discriminators: dict[str, Discriminator], generator: Generator, settings: GanSettings
) -> list[Phase]:
    """D1, D2 (or D), their lazy penalties, and G, in the order in which they are run."""
    rows = []
    for name, network in discriminators.items():
        optimiser = _adam(network, settings.discriminator_lr)
        rows.append(Phase(name, (network,), optimiser, _judge(name, network, settings)))
        if settings.r1_weight > 0:
            scale = {"D1": settings.alpha, "D2": settings.beta}.get(name, 1.0)
            penalty = _penalty(network, settings.r1_weight * scale * settings.r1_interval)
            row = Phase(f"{name}_r1", (network,), optimiser, penalty, settings.r1_interval)
            rows.append(row)
    optimiser = _adam(generator, settings.generator_lr)
    return [*rows, Phase("G", (generator,), optimiser, _deceive(discriminators, settings))]


def _adam(module: nn.Module, lr: float) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), lr, betas=(0.0, 0.99))


def log_ratio(name: str, logits: Tensor, settings: GanSettings) -> Tensor:
    """A discriminator's estimate of log p/q per image (N,): mean over its places.

    The hinge discriminator `D` has no density-ratio meaning; its mean score is returned.
    """
    if name == "D1":
        return losses.d2gan_log_r1(logits, settings.alpha).mean(1)
    if name == "D2":
        return losses.d2gan_log_r2(logits, settings.beta).mean(1)
    return logits.mean(1)


def _judge(name: str, network: Discriminator, settings: GanSettings) -> Callable[..., Outcome]:
    """The loss of one discriminator on real and generated images."""

    def loss(batch: Batch) -> Outcome:
        both = torch.cat([batch.real, batch.fake.detach()])
        real, fake = network(both, batch.targets.repeat(2)).chunk(2)
        with torch.no_grad():
            ratio_real = log_ratio(name, real, settings)
            ratio_fake = log_ratio(name, fake, settings)
        notes = {
            f"score_{name}_real": ratio_real.mean(),
            f"score_{name}_fake": ratio_fake.mean(),
            f"certainty_{name}": ratio_real.sign().mean(),
        }
        return _judgement(name, real, fake, settings), notes

    return loss


def _judgement(name: str, real: Tensor, fake: Tensor, settings: GanSettings) -> Tensor:
    if name == "D1":
        return losses.d2gan_coverage_loss(real, fake, settings.alpha)
    if name == "D2":
        return losses.d2gan_fidelity_loss(real, fake, settings.beta)
    return losses.hinge_discriminator_loss(real, fake)


def _penalty(network: Discriminator, weight: float) -> Callable[..., Outcome]:
    def loss(batch: Batch) -> Outcome:
        images = batch.real.detach().requires_grad_(True)
        return weight / 2 * losses.r1_penalty(network(images, batch.targets), images), {}

    return loss


def _deceive(
    discriminators: dict[str, Discriminator], settings: GanSettings
) -> Callable[..., Outcome]:
    """G's loss: its part of the game, plus the anchor."""

    def loss(batch: Batch) -> Outcome:
        parts = {
            name: _deception(name, network(batch.fake, batch.targets), settings)
            for name, network in discriminators.items()
        }
        anchor = losses.anchor_loss(batch.anchors, batch.anchored)
        total = torch.stack([*parts.values()]).sum() + settings.anchor_weight * anchor
        notes = {f"loss_G_{name}": part.detach() for name, part in parts.items()}
        return total, notes | {"anchor": anchor.detach()}

    return loss


def _deception(name: str, fake: Tensor, settings: GanSettings) -> Tensor:
    if name == "D1":
        return losses.d2gan_generator_coverage_loss(fake)
    if name == "D2":
        return losses.d2gan_generator_fidelity_loss(fake, settings.beta)
    return losses.hinge_generator_loss(fake)
