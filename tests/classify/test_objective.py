"""Losses against torch's own and by hand; orders as properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, softmax

from sonobalance.classify.objective import epoch_order, image_weights, weighted_loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_equals_torch_with_label_smoothing(smoothing):
    logits, targets = torch.randn(7, 4), torch.randint(4, (7,))
    ours = weighted_loss(logits, targets, torch.ones(7), smoothing=smoothing)
    torch.testing.assert_close(ours, cross_entropy(logits, targets, label_smoothing=smoothing))


def test_class_weights_equal_torch():
    logits, targets = torch.randn(9, 3), torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2])
    weights = image_weights(
        targets, torch.zeros(9, dtype=torch.bool), 3, balance="class-weights", share=1.0
    )
    per_class = 9 / (3 * torch.tensor([5.0, 3.0, 1.0]))
    expected = cross_entropy(logits, targets, weight=per_class)
    torch.testing.assert_close(weighted_loss(logits, targets, weights), expected)


def test_focal_by_hand():
    logits, targets = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    p = softmax(logits, 1)[:, 0]
    expected = (-((1 - p) ** 2) * p.log()).mean()
    ours = weighted_loss(logits, targets, torch.ones(2), focal_gamma=2.0)
    torch.testing.assert_close(ours, expected)


def test_a_synthetic_image_of_weight_zero_does_not_count():
    logits, targets = torch.randn(4, 3), torch.tensor([0, 1, 2, 0])
    synthetic = torch.tensor([False, False, True, True])
    weights = image_weights(targets, synthetic, 3, balance="none", share=0.0)
    ours = weighted_loss(logits, targets, weights)
    torch.testing.assert_close(ours, cross_entropy(logits[:2], targets[:2]))


@settings(deadline=None)
@given(
    counts=st.lists(st.integers(1, 30), min_size=2, max_size=5),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 5),
)
def test_orders(counts, seed, epoch):
    targets = np.repeat(np.arange(len(counts)), counts)
    plain = epoch_order(targets, balance="none", seed=seed, epoch=epoch)
    assert sorted(plain.tolist()) == list(range(len(targets)))
    even = epoch_order(targets, balance="over-sampling", seed=seed, epoch=epoch)
    assert len(even) == len(targets)
    shown = np.bincount(targets[even], minlength=len(counts))
    assert shown.max() - shown.min() <= 1
    times = np.bincount(even, minlength=len(targets))
    for k in range(len(counts)):
        assert np.ptp(times[targets == k]) <= 1  # no image twice before its class is through


def test_epochs_differ():
    orders = [epoch_order(np.zeros(20), balance="none", seed=0, epoch=e) for e in (0, 1, 0)]
    assert (orders[0] == orders[2]).all()
    assert (orders[0] != orders[1]).any()
