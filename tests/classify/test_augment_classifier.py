"""Augmentation keeps the skin on top, the range, and the promise to repeat itself."""

import pytest
import torch

from sonobalance.classify import augment as module
from sonobalance.classify.augment import STRENGTHS, Strength, augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def images(n=6, side=32):
    return torch.rand(n, 1, side, side, generator=generator(1)) * 2 - 1


def only(monkeypatch, **ranges):
    monkeypatch.setitem(STRENGTHS, "light", Strength(**ranges))


@pytest.mark.parametrize("strength", ["none", "light", "strong"])
def test_shape_range_and_repeatability(strength):
    first, again = (augment(images(), strength, generator()) for _ in range(2))
    assert first.shape == images().shape
    assert first.dtype == torch.float32
    assert first.min() >= -1
    assert first.max() <= 1
    assert torch.equal(first, again)
    other = augment(images(), strength, generator(5))
    assert torch.equal(first, other) == (strength == "none")


def test_none_is_the_identity():
    x = images()
    assert augment(x, "none", generator()) is x


def test_mirror_alone_gives_each_image_or_its_mirror(monkeypatch):
    only(monkeypatch, mirror=0.5)
    x = images(16)
    out = augment(x, "light", generator())
    kept = [torch.allclose(a, b, atol=1e-5) for a, b in zip(out, x, strict=True)]
    turned = [torch.allclose(a, b, atol=1e-5) for a, b in zip(out, x.flip(3), strict=True)]
    assert all(a != b for a, b in zip(kept, turned, strict=True))
    assert 3 < sum(turned) < 13


def test_the_skin_stays_on_top():
    x = torch.full((64, 1, 32, 32), -0.8)
    x[:, :, :14] = 0.8
    out = augment(x, "strong", generator())
    assert (out[:, :, :16].mean((1, 2, 3)) > out[:, :, 16:].mean((1, 2, 3))).all()


def test_gain_ramp_is_linear_in_depth(monkeypatch):
    only(monkeypatch, tgc=0.4)
    out = (augment(torch.zeros(4, 1, 32, 32), "light", generator()) + 1) / 2
    assert torch.allclose(out.std(3), torch.zeros(4, 1, 32), atol=1e-6)  # equal along a row
    steps = out[:, 0, :, 0].diff(dim=1)
    assert torch.allclose(steps, steps.mean(1, keepdim=True).expand_as(steps), atol=1e-5)
    assert (steps.abs().mean(1) > 0).all()
    torch.testing.assert_close(out.mean((1, 2, 3)), torch.full((4,), 0.5))


def test_speckle_multiplies(monkeypatch):
    only(monkeypatch, speckle=0.3)
    x = torch.full((8, 1, 64, 64), -1.0)
    x[..., 32:] = 0.0
    out = augment(x, "light", generator())
    assert torch.equal(out[..., :31], x[..., :31])  # black stays black
    assert out[..., 33:].std() > 0.02


def test_zoom_keeps_the_centre_and_every_image_has_its_own(monkeypatch):
    only(monkeypatch, zoom=0.3)
    x = torch.full((8, 1, 33, 33), -1.0)
    x[:, :, 12:21, 12:21] = 1.0
    out = augment(x, "light", generator())
    areas = (out > 0).sum((1, 2, 3))
    assert len(set(areas.tolist())) > 4
    assert (out[:, 0, 16, 16] > 0.99).all()
    torch.testing.assert_close(out, out.flip(2), atol=1e-4, rtol=0)


def test_erased_rectangle_holds_the_mean(monkeypatch):
    only(monkeypatch, erase=1.0)
    x = images(3)
    out = augment(x, "light", generator())
    changed = (out - x).abs() > 1e-6
    for now, before, where in zip(out, x, changed, strict=True):
        assert 0 < where.float().mean() < 0.2
        torch.testing.assert_close(now[where], before.mean().expand(int(where.sum())))


def test_uniform_covers_both_signs():
    drawn = module.uniform(2000, 0.3, generator())
    assert drawn.abs().max() <= 0.3
    assert abs(float(drawn.mean())) < 0.02
