"""Losses against torch's own and by hand; orders as properties."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, softmax

from sonobalance.classify.objective import (
    epoch_order,
    image_weights,
    times_shown,
    weighted_loss,
)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_equals_torch_with_label_smoothing(smoothing):
    logits, targets = torch.randn(7, 4), torch.randint(4, (7,))
    ours = weighted_loss(logits, targets, torch.ones(7), smoothing=smoothing)
    torch.testing.assert_close(ours, cross_entropy(logits, targets, label_smoothing=smoothing))


def test_class_weights_equal_torch():
    logits, targets = torch.randn(9, 3), torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2])
    weights = image_weights(targets, 3, balance="class-weights")
    per_class = 9 / (3 * torch.tensor([5.0, 3.0, 1.0]))
    expected = cross_entropy(logits, targets, weight=per_class)
    torch.testing.assert_close(weighted_loss(logits, targets, weights), expected)


def test_focal_by_hand():
    logits, targets = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    p = softmax(logits, 1)[:, 0]
    expected = (-((1 - p) ** 2) * p.log()).mean()
    ours = weighted_loss(logits, targets, torch.ones(2), focal_gamma=2.0)
    torch.testing.assert_close(ours, expected)


@settings(deadline=None)
@given(
    counts=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 30)), min_size=2, max_size=5),
    share=st.floats(0, 1),
    seed=st.integers(0, 99),
    epoch=st.integers(0, 5),
)
def test_orders(counts, share, seed, epoch):
    targets = np.repeat(np.arange(len(counts)).repeat(2), np.ravel(counts))
    synthetic = np.repeat(np.tile([False, True], len(counts)), np.ravel(counts))
    how = {"share": share, "seed": seed, "epoch": epoch}
    plain = epoch_order(targets, synthetic, balance="none", **how)
    assert sorted(plain.tolist()) == list(range(len(targets)))
    even = epoch_order(targets, synthetic, balance="over-sampling", **how)
    assert len(even) == len(targets)
    shown = np.bincount(targets[even], minlength=len(counts))
    assert shown.max() - shown.min() <= 1
    times = np.bincount(even, minlength=len(targets))
    for k in range(len(counts)):
        for made in (False, True):  # no image twice before those of its kind are through
            kind = times[(targets == k) & (synthetic == made)]
            assert not len(kind) or np.ptp(kind) <= 1
        made = synthetic[even][targets[even] == k].sum()
        natural = synthetic[targets == k].mean()  # real ones are shown as often or more
        assert made <= shown[k] * min(share, natural) + 0.5


@given(counts=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=2, max_size=4))
def test_times_shown_are_the_mean_of_many_orders(counts):
    targets = np.repeat(np.arange(len(counts)).repeat(2), np.ravel(counts))
    synthetic = np.repeat(np.tile([False, True], len(counts)), np.ravel(counts))
    how = {"balance": "over-sampling", "share": 0.25}
    orders = [epoch_order(targets, synthetic, seed=0, epoch=e, **how) for e in range(50)]
    for mask in (synthetic, ~synthetic):
        seen = np.mean([np.bincount(targets[o][mask[o]], minlength=len(counts)) for o in orders], 0)
        epochs = len(targets) / (~synthetic).sum()  # an order is of all images
        said = np.bincount(targets, times_shown(targets, synthetic, **how) * mask, len(counts))
        said *= epochs
        assert np.abs(seen - said).max() <= 1.5  # a class's whole draws are rounded
    plain = times_shown(targets, synthetic, balance="none", share=0.25)
    assert np.ptp(plain) == 0
    assert plain.sum() == pytest.approx((~synthetic).sum())


def test_without_a_share_synthetic_images_change_nothing():
    """Then an arm with synthetic images is over-sampling: its draws and its regression."""
    targets, synthetic = np.array([0, 0, 0, 1, 1, 1]), np.array([0, 0, 0, 0, 1, 1], bool)
    shown = times_shown(targets, synthetic, balance="over-sampling", share=0.0)
    assert shown.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2, 0, 0])
    order = epoch_order(targets, synthetic, balance="over-sampling", share=0.0, seed=0, epoch=0)
    assert sorted(order.tolist()) == [0, 1, 2, 3, 3, 3]


def test_epochs_differ():
    nobody = np.zeros(20, bool)
    orders = [
        epoch_order(np.zeros(20), nobody, balance="none", share=0.0, seed=0, epoch=e)
        for e in (0, 1, 0)
    ]
    assert (orders[0] == orders[2]).all()
    assert (orders[0] != orders[1]).any()
