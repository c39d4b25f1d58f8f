import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from sonobalance.gan.monitor import assess, kernel_distance, pairwise_distance, repetition


def test_kernel_distance_equals_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(20, 7, generator=generator)
    y = torch.randn(20, 7, generator=generator) + 0.4
    torch.testing.assert_close(kernel_distance(x, y), poly_mmd(x, y))


def test_kernel_distance_is_unbiased():
    """Its mean over pairs of samples of one distribution is zero within its own error."""
    random = torch.Generator().manual_seed(0)
    values = torch.stack([
        kernel_distance(*torch.randn(2, 15, 4, generator=random, dtype=torch.float64))
        for _ in range(400)
    ])  # fmt: skip
    assert values.mean().abs() < 3 * values.std() / 20


def test_pairwise_distance_by_hand():
    images = torch.stack([torch.full((1, 32, 32), v) for v in (0.0, 0.3, 0.9)])
    assert pairwise_distance(images) == pytest.approx((0.3 + 0.9 + 0.6) / 3, abs=1e-6)


def test_collapse_shows_in_diversity():
    torch.manual_seed(0)
    targets = torch.arange(2).repeat_interleave(12)
    images = torch.nn.functional.interpolate(torch.rand(24, 1, 8, 8) * 2 - 1, 32)
    alike = images[targets * 12] + 0.01 * torch.randn(24, 1, 32, 32)
    assert assess(images, targets, images, targets).diversity == pytest.approx((1.0, 1.0))
    assert max(assess(images, targets, alike, targets).diversity) < 0.1


def test_class_with_one_image_counts_as_diverse():
    torch.manual_seed(0)
    targets = torch.tensor([0, 0, 1])
    images = torch.rand(3, 1, 32, 32)
    health = assess(images, targets, images.repeat(2, 1, 1, 1), targets.repeat(2))
    assert health.diversity[1] == 1.0


def test_repetition_is_the_share_of_common_detail():
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(40, 1, 64, 64, generator=generator)
    stamp = torch.randn(1, 1, 64, 64, generator=generator)
    assert repetition(own) == pytest.approx(0.0, abs=0.02)
    assert repetition(stamp.expand(40, -1, -1, -1)) == pytest.approx(1.0, abs=0.02)
    assert repetition(stamp + own) == pytest.approx(0.5, abs=0.05)
