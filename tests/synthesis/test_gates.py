"""Thresholds against hand-computed values, and the rates that they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonobalance.config import SynthesisSettings
from sonobalance.synthesis.gates import (
    ClassMatch,
    Realism,
    Typicality,
    _just_above,
    passing,
    share_above,
    share_below,
)

DEFAULT = SynthesisSettings()


def test_shares_by_hand():
    reference = np.array([1.0, 2.0, 2.0, 4.0])
    assert share_below(np.array([0.5, 2.0, 9.0]), reference).tolist() == [0, 0.75, 1]
    assert share_above(np.array([0.5, 2.0, 9.0]), reference).tolist() == [1, 0.75, 0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_a_threshold_lets_at_least_the_promised_share_pass(scores, share):
    threshold = passing(np.array(scores), share, "")
    assert threshold.real_pass >= share - 1e-9
    assert threshold.admits(np.array(scores)).mean() == threshold.real_pass


@pytest.mark.parametrize("count", [10, 20, 30, 40])
@pytest.mark.parametrize("share", [0.8, 0.9])
def test_no_rank_is_lost_to_rounding(count, share):
    assert passing(np.arange(float(count)), share, "").real_pass == pytest.approx(share)


def test_realism_needs_both_discriminators():
    rng = np.random.default_rng(0)
    real, targets = rng.normal(size=400), np.repeat([0, 1], 200)
    gate = Realism.calibrated(real, real + rng.normal(0, 0.1, 400), targets, DEFAULT)
    assert gate.threshold.real_pass == pytest.approx(0.95, abs=0.01)
    high, low = np.array([0.5]), np.array([-9.0])
    assert gate.threshold.admits(gate.score(high, high, 0)).all()
    assert not gate.threshold.admits(gate.score(high, low, 0)).any()
    assert not gate.threshold.admits(gate.score(low, high, 0)).any()


def test_realism_ranks_within_the_class():
    values, targets = np.array([0.0, 1.0, 2.0, 10.0, 11.0, 12.0]), np.array([0, 0, 0, 1, 1, 1])
    gate = Realism.calibrated(values, values, targets, DEFAULT)
    assert gate.score(np.array([2.0]), np.array([1.0]), 0) == pytest.approx(2 / 3)
    assert gate.score(np.array([2.0]), np.array([1.0]), 1) == 0


def test_the_most_real_of_a_pool_are_so_by_both_discriminators():
    real_r1, real_r2 = np.array([8.0, 10.0, 12.0, 0.0]), np.array([0.8, 1.0, 1.2, 0.0])
    gate = Realism.calibrated(real_r1, real_r2, np.array([0, 0, 0, 1]), DEFAULT)
    # spreads 1.63 and 0.163: in these units the pool lies at (-2, -9), (-3, -2), (-1, -5), (-4, -1)
    r1 = 10 + real_r1[:3].std() * np.array([-2.0, -3.0, -1.0, -4.0])
    r2 = 1 + real_r2[:3].std() * np.array([-9.0, -2.0, -5.0, -1.0])
    assert gate.most_real(r1, r2, 0, 0.25).tolist() == [False, True, False, False]
    assert gate.most_real(r1, r2, 0, 0.5).tolist() == [False, True, False, True]
    assert not gate.most_real(r1, r2, 0, 0.0).any()
    assert gate.most_real(r1, r2, 0, 1.0).all()


def class_probabilities(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    targets = np.arange(n) % 3
    logits = rng.normal(size=(n, 3))
    logits[np.arange(n), targets] += 2.5
    odds = np.exp(logits)
    return odds / odds.sum(1, keepdims=True), targets


def test_class_gate_keeps_its_two_promises():
    probabilities, targets = class_probabilities()
    gate = ClassMatch.calibrated(probabilities, targets, DEFAULT)
    for k, threshold in enumerate(gate.thresholds):
        own, other = probabilities[targets == k, k], probabilities[targets != k, k]
        assert (own >= threshold.value).mean() == threshold.real_pass <= 0.905
        assert (other < threshold.value).mean() >= DEFAULT.class_reject


@pytest.mark.parametrize("n", [1, 10, 26, 47])
def test_the_class_gate_rejects_at_least_what_it_says_of_few_images(n):
    other = np.random.default_rng(n).random(n)
    for share in (0.0, 0.5, 0.85, 0.95, 1.0):
        assert (other < _just_above(other, share)).mean() >= share


def test_hard_examples_are_the_better_half_of_real_failures():
    probabilities, targets = class_probabilities()
    gate = ClassMatch.calibrated(probabilities, targets, DEFAULT)
    own = probabilities[targets == 0, 0]
    failing = own[~gate.admits(own, 0)]
    hard = gate.is_hard(own, 0)
    assert hard.sum() == pytest.approx(len(failing) / 2, abs=1)
    assert own[hard].min() >= np.median(failing) - 1e-9


def test_typicality_by_hand():
    """Five unrelated points on a line, one apart: third neighbours are 3, 2, 2, 2, 3 away."""
    features = np.arange(5.0)[:, None]
    groups = np.array(list("abcde"))
    gate = Typicality.calibrated(features, np.zeros(5, np.int64), groups, DEFAULT)
    assert gate.distances.tolist() == [3, 2, 2, 2, 3]
    score = gate.score(np.array([[2.0], [-1.0], [9.0]]), 0)
    assert score.tolist() == [1.0, 0.4, 0.0]  # distances 1, 3 and 7
    assert gate.threshold.admits(score).tolist() == [True, True, False]


def test_typicality_looks_past_relatives():
    features = np.array([[0.0], [0.1], [5.0], [5.1]])
    groups = np.array(["a", "a", "b", "b"])
    gate = Typicality.calibrated(features, np.zeros(4, np.int64), groups, DEFAULT)
    assert gate.distances == pytest.approx([5.1, 5.0, 5.0, 5.1])
