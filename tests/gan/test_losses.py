import math

import pytest
import torch
from torch import nn

from sonobalance.gan import losses

ALPHA, BETA = 0.3, 0.6
P = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
Q = torch.tensor([0.4, 0.1, 0.3, 0.2], dtype=torch.float64)


class Weighted:
    """Expectations over a discrete distribution, through losses that take plain means.

    Values repeat in proportion to their probability (multiples of 0.1).
    """

    @staticmethod
    def spread(logits, distribution):
        times = (distribution * 10).round().long()
        return logits.repeat_interleave(times)


def optimum(loss):
    logits = nn.Parameter(torch.zeros(4, dtype=torch.float64))
    optimiser = torch.optim.LBFGS(
        [logits], max_iter=300, tolerance_grad=1e-12, tolerance_change=1e-15,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure():
        optimiser.zero_grad()
        value = loss(logits)
        value.backward()
        return value

    optimiser.step(closure)
    return logits.detach()


def test_coverage_discriminator_reaches_alpha_p_over_q():
    found = optimum(
        lambda x: losses.d2gan_coverage_loss(Weighted.spread(x, P), Weighted.spread(x, Q), ALPHA)
    )
    torch.testing.assert_close(nn.functional.softplus(found), ALPHA * P / Q, rtol=1e-5, atol=0)
    torch.testing.assert_close(losses.d2gan_log_r1(found, ALPHA), (P / Q).log(), rtol=0, atol=1e-5)


def test_fidelity_discriminator_reaches_beta_q_over_p():
    found = optimum(
        lambda x: losses.d2gan_fidelity_loss(Weighted.spread(x, P), Weighted.spread(x, Q), BETA)
    )
    torch.testing.assert_close(nn.functional.softplus(found), BETA * Q / P, rtol=1e-5, atol=0)
    torch.testing.assert_close(losses.d2gan_log_r2(found, BETA), (P / Q).log(), rtol=0, atol=1e-5)


def test_objective_at_the_optimum_is_the_sum_of_divergences():
    """Nguyen 2017, theorem 2's proof: J = α(log α − 1) + β(log β − 1) + α·KL(p‖q) + β·KL(q‖p)."""
    d1 = optimum(
        lambda x: losses.d2gan_coverage_loss(Weighted.spread(x, P), Weighted.spread(x, Q), ALPHA)
    )
    d2 = optimum(
        lambda x: losses.d2gan_fidelity_loss(Weighted.spread(x, P), Weighted.spread(x, Q), BETA)
    )
    value = -losses.d2gan_coverage_loss(Weighted.spread(d1, P), Weighted.spread(d1, Q), ALPHA)
    value -= losses.d2gan_fidelity_loss(Weighted.spread(d2, P), Weighted.spread(d2, Q), BETA)
    forward, backward = (P * (P / Q).log()).sum(), (Q * (Q / P).log()).sum()
    expected = ALPHA * (math.log(ALPHA) - 1) + BETA * (math.log(BETA) - 1)
    expected += ALPHA * forward + BETA * backward
    assert float(value) == pytest.approx(float(expected), abs=1e-9)


def test_generator_losses_are_its_part_of_the_objective():
    """The discriminators' losses and G's share the same terms in q, with opposite signs."""
    real = torch.zeros(1)
    for logits in (torch.tensor([-2.0]), torch.tensor([3.0])):
        step1 = losses.d2gan_coverage_loss(real, logits, ALPHA) - losses.d2gan_coverage_loss(
            real, real, ALPHA
        )
        mine1 = losses.d2gan_generator_coverage_loss(logits) - losses.d2gan_generator_coverage_loss(
            real
        )
        torch.testing.assert_close(step1, -mine1)
        step2 = losses.d2gan_fidelity_loss(real, logits, BETA) - losses.d2gan_fidelity_loss(
            real, real, BETA
        )
        mine2 = losses.d2gan_generator_fidelity_loss(
            logits, BETA
        ) - losses.d2gan_generator_fidelity_loss(real, BETA)
        torch.testing.assert_close(step2, -mine2)


@pytest.mark.parametrize(
    "loss",
    [
        lambda a, b: losses.d2gan_coverage_loss(a, b, ALPHA),
        lambda a, b: losses.d2gan_fidelity_loss(a, b, BETA),
        lambda a, b: losses.d2gan_generator_coverage_loss(a) + b.sum() * 0,
        lambda a, b: losses.d2gan_generator_fidelity_loss(a, BETA) + b.sum() * 0,
        losses.hinge_discriminator_loss,
        lambda a, b: losses.hinge_generator_loss(a) + b.sum() * 0,
        lambda a, b: losses.d2gan_log_r1(a, ALPHA).sum() + b.sum() * 0,
        lambda a, b: losses.d2gan_log_r2(a, BETA).sum() + b.sum() * 0,
    ],
)
def test_gradients(loss):
    a = torch.tensor([-20.0, -3.1, -0.2, 0.4, 2.3], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([1.7, -17.0, 0.3, -0.6, 5.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(loss, (a, b))


@pytest.mark.parametrize(
    "loss",
    [
        losses.class_discriminator_loss,
        lambda a, b, y: losses.class_generator_loss(a, y) + b.sum() * 0,
        lambda a, b, y: losses.class_log_ratio(a, y).square().sum() + b.sum() * 0,
    ],
)
def test_gradients_of_the_class_losses(loss):
    """Three images, two classes: real ones, then generated ones."""
    random = torch.Generator().manual_seed(0)
    real, fake = 3 * torch.randn(2, 3, 4, generator=random, dtype=torch.float64)
    targets = torch.tensor([0, 1, 1])
    given = (real.requires_grad_(), fake.requires_grad_(), targets)
    assert torch.autograd.gradcheck(loss, given)


@pytest.mark.parametrize(
    "loss", [losses.reconstruction_loss, lambda a, b: losses.anchor_loss(a, b, side_px=4)]
)
def test_gradients_of_the_losses_of_images(loss):
    """Two images of 8 px; no difference is near the kink of an absolute value."""
    random = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 2, 1, 8, 8, generator=random, dtype=torch.float64) * 2 - 1
    assert torch.autograd.gradcheck(loss, (first.requires_grad_(), second.requires_grad_()))


def test_gradients_of_what_sees_features_or_gradients():
    random = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 3, 4, 4, generator=random, dtype=torch.float64) for _ in range(2)]
    first, second = (m.requires_grad_() for m in maps)
    assert torch.autograd.gradcheck(lambda a, b: losses.perceptual_loss([a], [b]), (first, second))

    def penalty(weight):
        images = torch.linspace(-1, 1, 8, dtype=torch.float64).view(2, 1, 2, 2).requires_grad_()
        return losses.r1_penalty((images * weight).flatten(1).sum(1).sin(), images)

    weight = torch.randn(1, 1, 2, 2, generator=random, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(penalty, (weight,))


def test_hinge_discriminator_is_the_sign_of_p_minus_q():
    """Lim & Ye 2017: D* = 1 where p > q and -1 where q > p; the loss is then 2·Σ min(p, q)."""

    def loss(logits):
        spread = (Weighted.spread(logits, x) for x in (P, Q))
        return float(losses.hinge_discriminator_loss(*spread))

    best = (P - Q).sign()
    assert loss(best) == pytest.approx(2 * float(torch.minimum(P, Q).sum()))
    for place in range(4):  # the loss is a sum over places: each has its own optimum
        for value in torch.linspace(-2, 2, 41, dtype=torch.float64):
            other = best.clone()
            other[place] = value
            moved = abs(float(value - best[place])) > 1e-9
            flat = P[place] == Q[place] and abs(value) <= 1 + 1e-9
            more = loss(other) - loss(best)
            assert (more > 1e-9) == (moved and not flat)


def test_log_softplus_neither_underflows_nor_jumps():
    x = torch.tensor([-200.0, -100.0, -15.0001, -14.9999, 0.0, 50.0], requires_grad=True)
    value = losses.log_softplus(x)
    exact = torch.tensor([-200.0, -100.0, -15.0001, -14.9999, math.log(math.log(2)), math.log(50)])
    torch.testing.assert_close(value, exact, rtol=0, atol=1e-5)
    value.sum().backward()
    assert torch.isfinite(x.grad).all()
    torch.testing.assert_close(x.grad[:4], torch.ones(4), rtol=0, atol=1e-5)


def test_hinge_by_hand():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert float(losses.hinge_discriminator_loss(real, fake)) == pytest.approx(0.25 + 0.5)
    assert float(losses.hinge_generator_loss(fake)) == pytest.approx(1.5)


def test_r1_of_a_quadratic_discriminator():
    """D(x) = Σx²/2 has gradient x, so the penalty is the mean of ‖x‖²."""
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    logits = x.square().flatten(1).sum(1, keepdim=True) / 2
    expected = x.square().flatten(1).sum(1).mean()
    torch.testing.assert_close(losses.r1_penalty(logits, x), expected)


def test_anchor_ignores_texture_and_sees_structure():
    image = torch.zeros(1, 1, 64, 64)
    checker = torch.ones(64, 64)
    checker[::2, ::2] = -1
    checker[1::2, 1::2] = -1
    assert float(losses.anchor_loss(image, checker[None, None])) == pytest.approx(0, abs=1e-7)
    assert float(losses.anchor_loss(image, image + 0.3)) == pytest.approx(0.3)
    assert float(losses.reconstruction_loss(image, image + 0.3)) == pytest.approx(0.9)


def test_class_discriminator_reaches_the_ratio_of_joint_densities():
    """Hou 2022: C*(y⁺|x) / C*(y⁻|x) = p(x,y) / q(x,y); here two points x of one class, two of y."""
    targets = torch.tensor([0] * 5 + [1] * 5)  # the same classes for real and generated images
    of_real, of_fake = torch.tensor([0] * 4 + [1, 0, 1, 1, 1, 1]), torch.tensor([0, 1] * 5)
    logits = nn.Parameter(torch.zeros(2, 4, dtype=torch.float64))
    optimiser = torch.optim.LBFGS([logits], max_iter=300, line_search_fn="strong_wolfe",
                                  tolerance_grad=1e-12, tolerance_change=1e-15)  # fmt: skip

    def closure():
        optimiser.zero_grad()
        value = losses.class_discriminator_loss(logits[of_real], logits[of_fake], targets)
        value.backward()
        return value

    optimiser.step(closure)
    for x in (0, 1):
        for y in (0, 1):
            p = ((of_real == x) & (targets == y)).sum()
            q = ((of_fake == x) & (targets == y)).sum()
            found = losses.class_log_ratio(logits.detach()[[x]], torch.tensor([y]))
            assert float(found) == pytest.approx(math.log(p / q), abs=1e-4)


def test_class_generator_loss_by_hand_and_equal_to_its_definition():
    logits = torch.tensor([[1.0, 2.0, 0.5, -1.0], [0.0, 3.0, 1.0, 5.0]])
    targets = torch.tensor([0, 1])
    assert float(losses.class_generator_loss(logits, targets)) == pytest.approx(0.75)
    chances = logits.log_softmax(1)
    rows = torch.arange(2)
    definition = -(chances[rows, targets] - chances[rows, targets + 2]).mean()
    torch.testing.assert_close(losses.class_generator_loss(logits, targets), definition)


def test_perceptual_loss_by_hand():
    """One level, one place: unit vectors (1, 0) and (0.6, 0.8) are 0.8 apart, squared."""
    first, second = torch.tensor([2.0, 0.0]), torch.tensor([3.0, 4.0])
    levels = [[x.view(1, 2, 1, 1)] for x in (first, second)]
    assert float(losses.perceptual_loss(*levels)) == pytest.approx(0.8)
    assert float(losses.perceptual_loss(levels[0] * 2, levels[1] * 2)) == pytest.approx(1.6)
