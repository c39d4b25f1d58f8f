"""What each discriminator is told to do: an objective is a tuple of roles, one per discriminator.

`d2gan`: D1 (coverage, whole image) and D2 (fidelity, patches), Nguyen et al. 2017. `real_class`: C
(2K-way class discriminator, whole image) and R (hinge realism, patches), cf. Hou et al. 2022.
`single`: D (hinge projection discriminator), the control.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from sonobalance.config import GanSettings, Objective
from sonobalance.gan import losses
from sonobalance.gan.losses import softplus_inverse

Judge = Callable[[Tensor, Tensor, Tensor, GanSettings], Tensor]
Rate = Callable[[Tensor, Tensor, GanSettings], Tensor]


@dataclass(frozen=True)
class Role:
    """One discriminator of an objective. Logits are (N, P), or (N, 2K) where `head` is `twin`.

    Attributes:
        name: in logs, snapshots and phases.
        view: `coarse`: the whole image at half resolution; `whole`: at full resolution; `patches`.
        head: `projection`: knows the class; `plain`: does not; `twin`: tells 2K classes.
        branch: whether it also sees frozen pretrained features, where there are any.
        judge: its loss, from real logits, generated logits and targets.
        deceive: G's loss through it, from generated logits and targets.
        log_ratio: (N,) its estimate of log p/q of each image; for a hinge its mean score.
        unit: size of its gain: R1 is relative to it.
        start: its logit where it cannot tell real from generated.
    """

    name: str
    view: Literal["coarse", "whole", "patches"]
    head: Literal["projection", "plain", "twin"]
    branch: bool
    judge: Judge
    deceive: Rate
    log_ratio: Rate
    unit: Callable[[GanSettings], float] = lambda _: 1.0
    start: Callable[[GanSettings], float] = lambda _: 0.0

    def value(self, logits: Tensor, targets: Tensor, settings: GanSettings) -> Tensor:
        """The discriminator's one number (N,) per image, whose gradient R1 keeps small."""
        if self.head == "twin":
            return self.log_ratio(logits, targets, settings)
        return logits.mean(1)


_COVERAGE = Role(
    "D1", "coarse", "projection", branch=True,
    judge=lambda real, fake, _, s: losses.d2gan_coverage_loss(real, fake, s.alpha),
    deceive=lambda fake, _, s: losses.d2gan_generator_coverage_loss(fake),
    log_ratio=lambda logits, _, s: losses.d2gan_log_r1(logits, s.alpha).mean(1),
    unit=lambda s: s.alpha, start=lambda s: softplus_inverse(s.alpha),
)  # fmt: skip
_FIDELITY = Role(
    "D2", "patches", "projection", branch=True,
    judge=lambda real, fake, _, s: losses.d2gan_fidelity_loss(real, fake, s.beta),
    deceive=lambda fake, _, s: losses.d2gan_generator_fidelity_loss(fake, s.beta),
    log_ratio=lambda logits, _, s: losses.d2gan_log_r2(logits, s.beta).mean(1),
    unit=lambda s: s.beta, start=lambda s: softplus_inverse(s.beta),
)  # fmt: skip
_CLASS = Role(
    "C", "coarse", "twin", branch=False,
    judge=lambda real, fake, targets, _: losses.class_discriminator_loss(real, fake, targets),
    deceive=lambda fake, targets, _: losses.class_generator_loss(fake, targets),
    log_ratio=lambda logits, targets, _: losses.class_log_ratio(logits, targets),
)  # fmt: skip


def _hinge(
    name: str, view: Literal["whole", "patches"], head: Literal["projection", "plain"]
) -> Role:
    return Role(
        name, view, head, branch=True,
        judge=lambda real, fake, *_: losses.hinge_discriminator_loss(real, fake),
        deceive=lambda fake, *_: losses.hinge_generator_loss(fake),
        log_ratio=lambda logits, *_: logits.mean(1),
    )  # fmt: skip


ROLES: dict[Objective, tuple[Role, ...]] = {
    "d2gan": (_COVERAGE, _FIDELITY),
    "real_class": (_CLASS, _hinge("R", "patches", "plain")),
    "single": (_hinge("D", "whole", "projection"),),
}
