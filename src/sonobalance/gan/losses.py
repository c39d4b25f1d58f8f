"""The equations of the adversarial game, one function each.

Symbols: p is the distribution of real images, q that of generated ones, D = softplus(logits) > 0.
Source of d2gan: Nguyen, Le, Vu & Phung, "Dual Discriminator Generative Adversarial Nets", NeurIPS
2017 (arXiv:1709.03831), written from its equations. Unless said otherwise, every `logits` argument
is float32 of any shape; losses are scalars (mean over all elements).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

_LINEAR_BELOW = -15.0  # log(softplus(x)) = x - exp(x)/2 + ... : equal to x in float32 down here


def log_softplus(logits: Tensor) -> Tensor:
    """log(softplus(logits)) without underflow: the logarithm of a discriminator's output D."""
    safe = logits.clamp_min(_LINEAR_BELOW)
    return torch.where(logits > _LINEAR_BELOW, F.softplus(safe).log(), logits)


def softplus_inverse(value: float) -> float:
    """The logit whose softplus is `value` > 0."""
    return math.log(math.expm1(value))


def d2gan_coverage_loss(real_logits: Tensor, fake_logits: Tensor, alpha: float) -> Tensor:
    """D1's part of J (eq. 1), negated: −α·E_p[log D1(x)] + E_q[D1(x)].

    Its minimum over D1 is at D1* = α·p/q (theorem 1), so that G is driven to lower α·KL(p‖q).
    """
    return F.softplus(fake_logits).mean() - alpha * log_softplus(real_logits).mean()


def d2gan_fidelity_loss(real_logits: Tensor, fake_logits: Tensor, beta: float) -> Tensor:
    """D2's part of J (eq. 1), negated: E_p[D2(x)] − β·E_q[log D2(x)].

    Its minimum over D2 is at D2* = β·q/p (theorem 1), so that G is driven to lower β·KL(q‖p).
    """
    return F.softplus(real_logits).mean() - beta * log_softplus(fake_logits).mean()


def d2gan_generator_coverage_loss(fake_logits: Tensor) -> Tensor:
    """G's share of J (eq. 1) through D1: −E_q[D1(x)]."""
    return -F.softplus(fake_logits).mean()


def d2gan_generator_fidelity_loss(fake_logits: Tensor, beta: float) -> Tensor:
    """G's share of J (eq. 1) through D2: β·E_q[log D2(x)]."""
    return beta * log_softplus(fake_logits).mean()


def d2gan_log_r1(logits: Tensor, alpha: float) -> Tensor:
    """D1's estimate of log p/q (theorem 1): log(D1/α); same shape as `logits`."""
    return log_softplus(logits) - torch.tensor(alpha).log().item()


def d2gan_log_r2(logits: Tensor, beta: float) -> Tensor:
    """D2's estimate of log p/q (theorem 1): log(β/D2); same shape as `logits`."""
    return torch.tensor(beta).log().item() - log_softplus(logits)


def hinge_discriminator_loss(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Hinge loss of D: E_p[max(0, 1 − D)] + E_q[max(0, 1 + D)].

    Lim & Ye, "Geometric GAN", 2017 (arXiv:1705.02894), eq. 16; here D is the raw logit.
    """
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def hinge_generator_loss(fake_logits: Tensor) -> Tensor:
    """Hinge loss of G: −E_q[D] (Lim & Ye 2017, eq. 17)."""
    return -fake_logits.mean()


def class_discriminator_loss(real_logits: Tensor, fake_logits: Tensor, targets: Tensor) -> Tensor:
    """C's loss over 2K classes, each real or generated: −E_p[log C(y⁺|x)] − E_q[log C(y⁻|x)].

    Hou, Cao, Shen, Pan, Li & Cheng, "Conditional GANs with Auxiliary Discriminative Classifier",
    ICML 2022 (arXiv:2107.10060), eq. 5. Logits are (N, 2K): K real classes, then K generated ones.
    """
    generated = targets + real_logits.shape[1] // 2
    return F.cross_entropy(real_logits, targets) + F.cross_entropy(fake_logits, generated)


def class_generator_loss(fake_logits: Tensor, targets: Tensor) -> Tensor:
    """G's loss through C: −E_q[log C(y⁺|x) − log C(y⁻|x)] (Hou et al. 2022, eq. 6)."""
    return -class_log_ratio(fake_logits, targets).mean()


def class_log_ratio(logits: Tensor, targets: Tensor) -> Tensor:
    """C's estimate (N,) of log p(x,y)/q(x,y): log C*(y⁺|x) − log C*(y⁻|x) (Hou et al. 2022)."""
    real, generated = logits.chunk(2, 1)
    return (real - generated).gather(1, targets[:, None]).squeeze(1)


def r1_penalty(values: Tensor, images: Tensor) -> Tensor:
    """R1 gradient penalty: E_p‖∇ₓ D(x)‖²; `images` (N, C, H, W) must require a gradient.

    Mescheder, Geiger & Nowozin, "Which Training Methods for GANs do actually Converge?", ICML 2018
    (arXiv:1801.04406), eq. 9 without its factor γ/2. `values` (N,) are D of each image.
    """
    (gradient,) = torch.autograd.grad(values.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1).mean()


def reconstruction_loss(images: Tensor, reconstructed: Tensor) -> Tensor:
    """Mean absolute error summed over full, 1/2 and 1/4 resolution: structure beside detail.

    Both (N, C, H, W) float32 in [-1, 1].
    """
    total = F.l1_loss(reconstructed, images)
    for _ in range(2):
        images, reconstructed = F.avg_pool2d(images, 2), F.avg_pool2d(reconstructed, 2)
        total = total + F.l1_loss(reconstructed, images)
    return total


def perceptual_loss(of_images: list[Tensor], of_reconstructed: list[Tensor]) -> Tensor:
    """Squared distance of feature vectors of unit length, averaged over places, summed over levels.

    Zhang, Isola, Efros, Shechtman & Wang, "The Unreasonable Effectiveness of Deep Features as a
    Perceptual Metric", CVPR 2018 (arXiv:1801.03924), eq. 1 with equal weights. Lists of
    (N, C, h, w), one per level.
    """
    pairs = zip(of_images, of_reconstructed, strict=True)
    gaps = [F.normalize(_exact(a), dim=1) - F.normalize(_exact(b), dim=1) for a, b in pairs]
    return torch.stack([gap.square().sum(1).mean() for gap in gaps]).sum()


def _exact(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def anchor_loss(images: Tensor, generated: Tensor, side_px: int = 16) -> Tensor:
    """Coverage anchor: mean absolute error at `side_px` resolution, which leaves texture free.

    Both (N, C, H, W) float32 in [-1, 1]. A generator that keeps it low cannot drop an image.
    """
    factor = max(1, images.shape[-1] // side_px)
    return F.l1_loss(F.avg_pool2d(generated, factor), F.avg_pool2d(images, factor))
