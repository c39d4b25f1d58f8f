import torch
from hypothesis import given, settings, strategies

from sonobalance.gan import augment as module
from sonobalance.gan.augment import DRAWS, adapt, augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draws(images):
    return torch.rand(len(images), DRAWS, generator=generator())


def test_probability_zero_changes_nothing():
    images = torch.rand(5, 1, 32, 32, generator=generator(1)) * 2 - 1
    torch.testing.assert_close(augment(images, 0.0, draws(images)), images)


def test_gradient_reaches_the_images():
    images = torch.rand(6, 1, 32, 32, generator=generator(1)).requires_grad_()
    augment(images, 1.0, draws(images)).sum().backward()
    reached = (images.grad != 0).float().mean((1, 2, 3))
    assert (reached > 0.4).all()


def test_translation_moves_by_whole_pixels_and_fills_with_black():
    image = torch.rand(1, 1, 16, 16, generator=generator(1))
    moved = module._translate(image, torch.tensor([2]), torch.tensor([-3]), 4)
    torch.testing.assert_close(moved[..., 2:, :13], image[..., :14, 3:])
    assert (moved[..., :2, :] == -1).all()
    assert (moved[..., 13:] == -1).all()


def test_share_of_changed_images_is_the_probability():
    images = torch.zeros(2000, 1, 8, 8)
    changed = (augment(images, 0.3, draws(images)) != 0).flatten(1).any(1).float().mean()
    # brightness (always visible) or cut-out or translation; contrast is invisible on flat images
    expected = 1 - 0.7 * 0.7 * (1 - 0.3 * (1 - (1 / 3) ** 2))
    assert abs(float(changed) - expected) < 0.05


@settings(max_examples=30, deadline=None)
@given(
    strategies.floats(0, 0.85), strategies.floats(-1, 1), strategies.floats(0.1, 1),
    strategies.floats(0, 100),
)  # fmt: skip
def test_adaptive_chance_stays_in_range_and_moves_the_right_way(probability, seen, target, kimg):
    after = adapt(probability, seen, target, kimg)
    assert 0 <= after <= 0.85
    assert after >= probability if seen > target else after <= probability


def test_looks_that_are_far_apart_do_not_swing_the_chance():
    chances, chance = [], 0.3
    for _ in range(20):
        chance = adapt(chance, 0.9 if chance < 0.42 else 0.1, 0.5, 20.0)
        chances.append(chance)
    assert max(chances[5:]) - min(chances[5:]) < 0.11


def test_target_zero_keeps_the_chance():
    assert adapt(0.4, 1.0, 0.0, 10.0) == 0.4
