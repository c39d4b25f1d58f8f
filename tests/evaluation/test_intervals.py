"""Intervals: nominal coverage on clustered data, and against scipy and closed forms."""

from functools import partial

import numpy as np
import pytest
from scipy.stats import binomtest

from sonobalance.errors import InputError
from sonobalance.evaluation.intervals import (
    Interval,
    group_weights,
    mean_interval,
    percentile_interval,
    raised_interval,
    share_interval,
    wilson_interval,
)
from sonobalance.evaluation.metrics import expected_calibration_error


def clustered_hits(rng, groups, size, share):
    """Right/wrong answers that are the same for all but a tenth of a group's images."""
    shared = rng.random(groups) < share
    own = rng.random((groups, size)) < share
    copies = rng.random((groups, size)) < 0.9
    return np.where(copies, shared[:, None], own).astype(float).ravel()


def coverage(group_of, simulations=300):
    rng = np.random.default_rng(0)
    inside, width = 0, 0.0
    for _ in range(simulations):
        hits = clustered_hits(rng, groups=60, size=4, share=0.75)
        found = mean_interval(hits, group_weights(group_of, 400, rng), 0.95)
        inside += found.low <= 0.75 <= found.high
        width += found.high - found.low
    return inside / simulations, width / simulations


def test_coverage_is_nominal_with_groups_and_too_small_without():
    groups = np.repeat(np.arange(60), 4).astype(str)
    images = np.arange(240).astype(str)
    grouped, grouped_width = coverage(groups)
    ignored, ignored_width = coverage(images)
    assert 0.90 <= grouped <= 0.98
    assert ignored < 0.80
    assert grouped_width > 1.6 * ignored_width


def test_bootstrap_error_equals_the_closed_form():
    """Equal groups: the bootstrap's standard error of a mean is that of the group means."""
    rng = np.random.default_rng(1)
    means = rng.normal(size=50)
    values = np.repeat(means, 3)
    weights = group_weights(np.repeat(np.arange(50), 3).astype(str), 20_000, rng)
    resampled = weights @ values / weights.sum(1)
    assert resampled.std() == pytest.approx(means.std() / np.sqrt(50), rel=0.02)


def test_groups_are_drawn_whole():
    groups = np.array(["a", "b", "a", "c", "b", "a"])
    weights = group_weights(groups, 200, np.random.default_rng(0))
    for name in "abc":
        rows = weights[:, groups == name]
        assert (rows == rows[:, :1]).all()
    drawn = weights[:, [0, 1, 3]].sum(1)
    assert (drawn == 3).all()


def test_no_resample_misses_a_class():
    groups = np.arange(12).astype(str)
    strata = np.array([0] * 10 + [1, 1])
    weights = group_weights(groups, 2000, np.random.default_rng(0), strata)
    assert (weights[:, 10:].sum(1) > 0).all()
    free = group_weights(groups, 2000, np.random.default_rng(0))
    assert (free[:, 10:].sum(1) == 0).mean() == pytest.approx((10 / 12) ** 12, abs=0.03)


def test_same_seed_same_weights():
    one, two = (group_weights(list("aabbc"), 50, np.random.default_rng(7)) for _ in range(2))
    assert (one == two).all()


def test_fewer_than_three_groups_give_no_bounds():
    generator = np.random.default_rng(0)
    for groups, bounded in (("aaaa", False), ("aabb", False), ("aabc", True)):
        found = mean_interval(np.ones(4), group_weights(list(groups), 50, generator), 0.95)
        assert found.value == 1
        assert np.isfinite(found.low) == np.isfinite(found.high) == bounded


def test_a_share_has_bounds_of_at_least_three_groups_and_never_no_width():
    flat, wide = Interval(1.0, 1.0, 1.0), Interval(0.5, 0.4, 0.6)
    assert share_interval(flat, np.array(list("aabc")), 0.95) == wilson_interval(1.0, 3, 0.95)
    assert share_interval(wide, np.array(list("aabc")), 0.95) == wide
    assert np.isnan(share_interval(wide, np.array(list("aab")), 0.95)[1:]).all()


def test_no_images_is_refused():
    with pytest.raises(InputError, match="at least one image"):
        group_weights([], 10, np.random.default_rng(0))


@pytest.mark.parametrize(("hits", "n"), [(0, 12), (7, 12), (12, 12), (140, 160)])
@pytest.mark.parametrize("confidence", [0.9, 0.95])
def test_wilson_equals_scipy(hits, n, confidence):
    theirs = binomtest(hits, n).proportion_ci(confidence, method="wilson")
    ours = wilson_interval(hits / n, n, confidence)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_without_trials_has_no_bounds():
    assert np.isnan(wilson_interval(1.0, 0, 0.95).low)


def test_percentiles_skip_resamples_without_a_value_until_half_are_missing():
    values = np.r_[np.arange(101.0), [np.nan] * 99]
    assert percentile_interval(50, values, 0.9)[1:] == pytest.approx((5, 95))
    mostly_missing = np.r_[values, [np.nan] * 50]
    assert np.isnan(percentile_interval(50, mostly_missing, 0.9)[1:]).all()


def test_ratio_of_means():
    weights = group_weights(list("abcdefgh"), 500, np.random.default_rng(0))
    values = np.arange(1.0, 9.0)
    found = mean_interval(2 * values, weights, 0.95, values)
    assert found == pytest.approx((2, 2, 2))


def test_json_has_null_for_what_has_no_value():
    assert Interval(0.5, np.nan, np.nan).as_json() == {"value": 0.5, "low": None, "high": None}


def test_the_interval_of_a_calibration_error_covers_it_and_holds_its_value():
    """Few images show the bias: of the percentile interval at 95 % hardly anything is left."""
    rng, n, off = np.random.default_rng(0), 200, 0.03
    runs, covered, short, held = 100, 0, 0, 0
    for _ in range(runs):
        confidence = 0.5 + 0.5 * rng.beta(3, 1.6, n)
        targets = (rng.random(n) >= confidence - off).astype(np.int64)
        probabilities = np.stack([confidence, 1 - confidence], 1)
        weights = group_weights(np.arange(n).astype(str), 300, rng)
        ece = partial(expected_calibration_error, targets, probabilities, bins=10)
        value, resampled = ece(np.ones((1, n)))[0], ece(weights)
        ours = raised_interval(value, resampled, 0.95)
        plain = percentile_interval(value, resampled, 0.95)
        covered += ours.low <= off <= ours.high
        short += plain.low <= off <= plain.high
        held += ours.low <= value <= ours.high
    assert held == runs
    assert covered / runs > 0.9
    assert short / runs < 0.6


def test_a_raised_interval_reaches_as_far_below_as_above_within_0_and_1():
    resampled = np.linspace(0.0150, 0.0549, 1001)  # every resample lies above the value
    low, high = percentile_interval(0.012, resampled, 0.95)[1:]
    assert low > 0.012
    assert raised_interval(0.012, resampled, 0.95) == pytest.approx((0.012, 0.0, high))
    far = raised_interval(0.1, resampled + 0.095, 0.95)
    assert far.high - 0.1 == pytest.approx(0.1 - far.low)
    assert raised_interval(0.9, resampled + 0.95, 0.95).high == 1.0
    nothing = raised_interval(0.1, np.full(9, np.nan), 0.95)
    assert np.isnan(nothing[1:]).all()
    assert nothing.value == 0.1
