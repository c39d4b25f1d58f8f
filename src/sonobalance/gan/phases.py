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
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.networks import Encoder, Generator, unit_rms
from sonobalance.gan.objectives import ROLES, Role
from sonobalance.parallel import Crew

ALONE = Crew()
Outcome = tuple[Tensor, dict[str, Tensor]]  # loss, and what to log


@dataclass(frozen=True)
class Batch:
    """What one step is about; images are (N, C, S, S) float32 in [-1, 1].

    Attributes:
        targets: (N,) int64 class of each real and each generated image.
        real: TRAIN images, augmented.
        fake: generated images, augmented; carry the gradient to G.
        anchors: the TRAIN images that the first generated ones must resemble, (M, C, S, S).
        anchored: these first M generated images, not augmented.
        real_seen, fake_seen: frozen features of `real` and `fake`, computed once for D and G alike;
            the latter carry the gradient to G. None without a pretrained backbone.
    """

    targets: Tensor
    real: Tensor
    fake: Tensor
    anchors: Tensor
    anchored: Tensor
    real_seen: list[Tensor] | None = None
    fake_seen: list[Tensor] | None = None


@dataclass(frozen=True)
class WarmupBatch:
    """Images (N, C, S, S) float32 in [-1, 1], their classes, and the random numbers of a step."""

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

    def parameters(self) -> Iterator[nn.Parameter]:
        """What the optimiser changes."""
        return (p for group in self.optimiser.param_groups for p in group["params"])


def run_phases(
    phases: list[Phase], batch: Batch | WarmupBatch, step: int, crew: Crew = ALONE
) -> dict[str, Tensor]:
    """The one inner step: each due phase minimises its loss once; returns what to log."""
    logged: dict[str, Tensor] = {}
    for phase in phases:
        if step % phase.interval:
            continue
        with learning(phase.modules):
            loss, notes = phase.loss(batch)
            phase.optimiser.zero_grad(set_to_none=True)
            loss.backward()
            crew.average_gradients(phase.parameters())
            phase.optimiser.step()
            torch.clear_autocast_cache()  # of the weights as they were
        logged |= {f"loss_{phase.name}": loss.detach(), **notes}
    return logged


@contextmanager
def learning(modules: Iterable[nn.Module]) -> Iterator[None]:
    """Collect gradients for the discriminators of a phase only inside that phase."""
    judges = [m for m in modules if isinstance(m, Discriminator)]
    for judge in judges:
        judge.learn(True)
    try:
        yield
    finally:
        for judge in judges:
            judge.learn(False)


def warmup_phases(
    encoder: Encoder, generator: Generator, settings: GanSettings, eyes: FrozenFeatures | None
) -> list[Phase]:
    """The autoencoder: noisy latents, so that neighbours of a latent decode to images too."""

    def loss(batch: WarmupBatch) -> Outcome:
        latents = unit_rms(encoder(batch.images) + settings.latent_noise * batch.offsets)
        decoded = generator(latents, batch.targets, batch.noise)
        pixels = losses.reconstruction_loss(batch.images, decoded)
        if eyes is None or settings.perceptual_weight == 0:
            return pixels, {}
        features = losses.perceptual_loss(eyes.native(batch.images), eyes.native(decoded))
        notes = {"loss_pixels": pixels.detach(), "loss_features": features.detach()}
        return pixels + settings.perceptual_weight * features, notes

    parameters = [*encoder.parameters(), *generator.parameters()]
    optimiser = torch.optim.Adam(parameters, settings.autoencoder_lr, betas=(0.9, 0.99), fused=True)
    return [Phase("autoencoder", (encoder, generator), optimiser, loss)]


def adversarial_phases(
    discriminators: dict[str, Discriminator], generator: Generator, settings: GanSettings
) -> list[Phase]:
    """Each discriminator with its lazy penalty, then G, in the order in which they are run."""
    rows, roles = [], ROLES[settings.objective]
    for role in roles:
        network = discriminators[role.name]
        optimiser = _adam(network.learnable(), settings.discriminator_lr)
        rows.append(Phase(role.name, (network,), optimiser, _judge(role, network, settings)))
        if settings.r1_weight > 0:
            weight = settings.r1_weight * role.unit(settings) * settings.r1_interval
            penalty = _penalty(role, network, settings, weight)
            row = Phase(f"{role.name}_r1", (network,), optimiser, penalty, settings.r1_interval)
            rows.append(row)
    optimiser = _adam(generator.parameters(), settings.generator_lr)
    return [*rows, Phase("G", (generator,), optimiser, _deceive(roles, discriminators, settings))]


def _adam(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Adam:
    return torch.optim.Adam(parameters, lr, betas=(0.0, 0.99), fused=True)


def _judge(role: Role, network: Discriminator, settings: GanSettings) -> Callable[..., Outcome]:
    """The loss of one discriminator on real and generated images."""

    def loss(batch: Batch) -> Outcome:
        both = torch.cat([batch.real, batch.fake.detach()])
        logits = network(both, batch.targets.repeat(2), _both_seen(batch))
        real, fake = logits.chunk(2)
        with torch.no_grad():
            of_real = role.log_ratio(real, batch.targets, settings)
            of_fake = role.log_ratio(fake, batch.targets, settings)
        notes = {
            f"score_{role.name}_real": of_real.mean(),
            f"score_{role.name}_fake": of_fake.mean(),
            f"certainty_{role.name}": of_real.sign().mean(),
            f"certainty_{role.name}_fake": of_fake.sign().mean(),
        }
        return role.judge(real, fake, batch.targets, settings), notes

    return loss


def _both_seen(batch: Batch) -> list[Tensor] | None:
    if batch.real_seen is None or batch.fake_seen is None:
        return None
    pairs = zip(batch.real_seen, batch.fake_seen, strict=True)
    return [torch.cat([real, fake.detach()]) for real, fake in pairs]


def _penalty(
    role: Role, network: Discriminator, settings: GanSettings, weight: float
) -> Callable[..., Outcome]:
    """R1 through the pixels; the frozen features, if any, take no part."""

    def loss(batch: Batch) -> Outcome:
        images = batch.real.detach().requires_grad_(True)
        values = role.value(network(images, batch.targets), batch.targets, settings)
        return weight / 2 * losses.r1_penalty(values, images), {}

    return loss


def _deceive(
    roles: tuple[Role, ...], discriminators: dict[str, Discriminator], settings: GanSettings
) -> Callable[..., Outcome]:
    """G's loss: its part of the game, plus the anchor."""

    def loss(batch: Batch) -> Outcome:
        parts = {}
        for role in roles:
            logits = discriminators[role.name](batch.fake, batch.targets, batch.fake_seen)
            parts[role.name] = role.deceive(logits, batch.targets, settings)
        total = torch.stack([*parts.values()]).sum()
        anchor = total.new_zeros(())
        if len(batch.anchors):
            anchor = losses.anchor_loss(batch.anchors, batch.anchored)
            total = total + settings.anchor_weight * anchor
        notes = {f"loss_G_{name}": part.detach() for name, part in parts.items()}
        return total, notes | {"anchor": anchor.detach()}

    return loss
