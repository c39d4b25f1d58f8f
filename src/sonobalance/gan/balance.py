"""Do the discriminators still teach, and do they agree? Measured once per snapshot.

At the optimum of d2gan, D1·D2 = α·β at every image (Nguyen et al. 2017, theorem 1): both estimate
the same density ratio. A discriminator that is sure of every generated image gives G no gradient,
or, where its loss for G is linear (hinge, 2K classes), has nothing left to learn itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sonobalance.config import GanSettings
from sonobalance.gan.discriminators import Discriminator
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.objectives import ROLES, Role

BATCH = 32
LEAST_SLOPE = 0.01  # below it a discriminator teaches G, or is taught, nothing
# Usual are, in every snapshot of d2gan trainings of 10 to 18 kimg on BUSI at 64 px: pull 0.42 to
# 0.96, agreement 0.87 to 0.96, product -1.0 to 0.2 (learning at 10 to 12 kimg 0.5 to 0.7, of
# `single` likewise); on 95 images at 32 px without pretrained features: pull from 0.16, agreement
# from 0.41, product from -1.3. Where D2 never learnt, agreement was -0.2 to -0.6. Beyond the limits
# they do not estimate one ratio: unrelated, or e³ = 20 apart.
LEAST_AGREEMENT, MOST_PRODUCT = 0.1, 3.0


@dataclass(frozen=True)
class Balance:
    """What the discriminators say about generated and real images.

    Attributes:
        pull: by discriminator, its gradient on the logits of generated images relative to that on
            its starting logit: about 1 in equilibrium, 0 when it is saturated; always 1 where G's
            loss is linear.
        learning: by discriminator, the same of its own loss, over real and generated images.
        agreement: correlation of the two log density ratios over real and generated images; 1 with
            one discriminator.
        product: mean of log(D1·D2/αβ), that is of log r1 - log r2; 0 in equilibrium.
    """

    pull: dict[str, float]
    learning: dict[str, float]
    agreement: float
    product: float

    def row(self) -> dict[str, float]:
        """What to log."""
        pulls = {f"pull_{name}": value for name, value in self.pull.items()}
        learning = {f"learning_{name}": value for name, value in self.learning.items()}
        return pulls | learning | {"agreement": self.agreement, "product": self.product}

    @property
    def idle(self) -> list[str]:
        """The discriminators that teach G nothing, or have nothing left to learn."""
        both = zip(self.pull.items(), self.learning.values(), strict=True)
        return [name for (name, pull), learning in both if min(pull, learning) < LEAST_SLOPE]

    @property
    def apart(self) -> bool:
        """Whether two discriminators that should estimate the same ratio clearly do not."""
        return self.agreement < LEAST_AGREEMENT or abs(self.product) > MOST_PRODUCT


def weigh(
    discriminators: dict[str, Discriminator],
    eyes: FrozenFeatures | None,
    settings: GanSettings,
    images: tuple[Tensor, Tensor],
    targets: tuple[Tensor, Tensor],
) -> Balance:
    """Let the discriminators judge.

    Args:
        discriminators: by name; their mode is left as it was.
        eyes: frozen features for those with the branch.
        settings: of the training.
        images: real and generated ones, (N, C, S, S) float32 in [-1, 1] each.
        targets: (N,) int64 each.
    """
    pulls, learnings, ratios = {}, {}, []
    for role in ROLES[settings.objective]:
        network = discriminators[role.name]
        training = network.training
        network.eval()
        real, fake = (_logits(network, eyes, x, y) for x, y in zip(images, targets, strict=True))
        network.train(training)
        pulls[role.name] = pull(role, fake, targets[1], settings)
        learnings[role.name] = learning(role, (real, fake), targets, settings)
        both = zip((real, fake), targets, strict=True)
        ratios.append(torch.cat([role.log_ratio(x, y, settings) for x, y in both]))
    first, second = ratios[0], ratios[-1]
    together = torch.corrcoef(torch.stack([first, second]))[0, 1].nan_to_num()
    return Balance(pulls, learnings, float(together), float((first - second).mean()))


@torch.no_grad()
def _logits(
    network: Discriminator, eyes: FrozenFeatures | None, images: Tensor, targets: Tensor
) -> Tensor:
    parts = zip(images.split(BATCH), targets.split(BATCH), strict=True)
    return torch.cat([network(x, y, None if eyes is None else eyes(x)) for x, y in parts])


def pull(role: Role, fake: Tensor, targets: Tensor, settings: GanSettings) -> float:
    """Size of the gradient of G's loss at these logits over that at the starting logit."""
    start = torch.full_like(fake, role.start(settings))

    def deceived(logits: Tensor) -> Tensor:
        return role.deceive(logits, targets, settings)

    return _slope(deceived, fake) / _slope(deceived, start)


def learning(
    role: Role, logits: tuple[Tensor, Tensor], targets: tuple[Tensor, Tensor], settings: GanSettings
) -> float:
    """Size of the gradient of a discriminator's loss over that at its starting logit.

    Mean of what real and what generated images give; 0 when it is sure of all of them. Logits and
    targets of the two need not be equally many.
    """
    (real, fake), (of_real, of_fake) = logits, targets

    def by_real(x: Tensor) -> Tensor:  # the loss is a sum of a part of each
        return role.judge(x, x.detach(), of_real, settings)

    def by_fake(x: Tensor) -> Tensor:
        return role.judge(x.detach(), x, of_fake, settings)

    parts = [
        _slope(loss, x) / _slope(loss, torch.full_like(x, role.start(settings)))
        for loss, x in ((by_real, real), (by_fake, fake))
    ]
    return sum(parts) / len(parts)


@torch.enable_grad()
def _slope(loss: Callable[[Tensor], Tensor], logits: Tensor) -> float:
    logits = logits.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(loss(logits), logits)
    return float(gradient.abs().mean())
