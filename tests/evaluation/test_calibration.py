"""Temperature, reliability, thresholds and conformal sets, against truth known by construction."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from sonobalance.evaluation.calibration import (
    apply_temperature,
    conformal_cutoff,
    conformal_sets,
    operating_threshold,
    reliability_bins,
    temperature_of,
)
from sonobalance.evaluation.metrics import expected_calibration_error


def calibrated(n, seed, scale=1.5):
    """Probabilities from which the truth is drawn: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    p = np.exp(scale * rng.normal(size=(n, 3)))
    p /= p.sum(1, keepdims=True)
    targets = (rng.random(n)[:, None] > p.cumsum(1)).sum(1)
    return targets, p


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_fit_finds_the_temperature_that_was_applied(temperature):
    targets, p = calibrated(20_000, seed=0)
    distorted = apply_temperature(p, 1 / temperature)
    assert temperature_of(targets, distorted) == pytest.approx(temperature, rel=0.05)


def test_temperature_mends_the_calibration_error():
    targets, p = calibrated(5000, seed=1)
    over = apply_temperature(p, 1 / 3)
    once = np.ones((1, 5000))
    before = expected_calibration_error(targets, over, once, bins=10)[0]
    mended = apply_temperature(over, temperature_of(targets, over))
    assert before > 0.1
    assert expected_calibration_error(targets, mended, once, bins=10)[0] < 0.02


def test_a_small_temperature_is_taken_out_again():
    soft = np.array([[0.96, 0.03, 0.01], [0.2, 0.5, 0.3]])
    sharp = apply_temperature(soft, 0.05)
    assert sharp.min() < 1e-30
    assert apply_temperature(sharp, 20) == pytest.approx(soft)


def test_temperature_keeps_the_order_and_the_sum():
    _, p = calibrated(50, seed=2)
    soft = apply_temperature(p, 4.0)
    assert (soft.argsort(1) == p.argsort(1)).all()
    assert soft.sum(1) == pytest.approx(np.ones(50))
    assert apply_temperature(p, 1.0) == pytest.approx(p)


def test_certain_and_wrong_predictions_do_not_break_the_fit():
    p = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    assert np.isfinite(temperature_of(np.array([0, 1, 1]), p))


def test_reliability_equals_scikit_learn():
    targets, p = calibrated(400, seed=3)
    right, confidence = p.argmax(1) == targets, p.max(1)
    accuracy, mean = calibration_curve(right, confidence, n_bins=10)
    filled = [row for row in reliability_bins(targets, p, 10) if row.count]
    assert [row.accuracy for row in filled] == pytest.approx(accuracy)
    assert [row.confidence for row in filled] == pytest.approx(mean)
    assert sum(row.count for row in filled) == 400


def test_empty_bins_have_no_means():
    rows = reliability_bins(np.array([0]), np.array([[0.95, 0.05]]), 10)
    assert [row.count for row in rows] == [0] * 9 + [1]
    assert np.isnan(rows[0].accuracy)


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.95])
def test_operating_threshold_is_the_highest_that_reaches_the_sensitivity(wanted):
    targets, p = calibrated(200, seed=4)
    scores = p[targets == 1, 1]
    cut = operating_threshold(targets, p, 1, wanted)
    assert (scores >= cut).mean() >= wanted
    assert (scores >= np.nextafter(cut, 1)).mean() < wanted


def test_operating_threshold_of_an_absent_class_has_no_value():
    assert np.isnan(operating_threshold(np.zeros(3, np.int64), np.full((3, 2), 0.5), 1, 0.9))


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_conformal_sets_cover_as_promised(coverage):
    """Mean coverage over calibration draws lies in [coverage, coverage + 1 / (n + 1)]."""
    n, held = 99, []
    for seed in range(200):
        targets, p = calibrated(n + 300, seed)
        cut = conformal_cutoff(targets[:n], p[:n], coverage)
        held.append(conformal_sets(p[n:], cut)[np.arange(300), targets[n:]].mean())
    assert coverage - 0.01 <= np.mean(held) <= coverage + 1 / (n + 1) + 0.01


def test_too_few_held_out_images_give_every_class():
    targets, p = calibrated(5, seed=0)
    assert conformal_cutoff(targets, p, 0.9) == 0.0
    assert conformal_sets(p, 0.0).all()
