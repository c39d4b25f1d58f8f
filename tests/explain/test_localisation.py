"""Localisation scores: worked out by hand, perfect, flat, and random maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonobalance.explain.localisation import (
    SCORES,
    band_below,
    border,
    centre_map,
    energy,
    iou,
    pointing_game,
    random_map,
)

LESION = np.zeros((20, 30), bool)
LESION[5:10, 10:20] = True  # 50 of 600 pixels
AREA = 50 / 600


def test_a_perfect_map():
    perfect = LESION.astype(np.float32)
    assert pointing_game(perfect, LESION) == (1.0, AREA)
    assert energy(perfect, LESION) == (1.0, AREA)
    assert iou(perfect, LESION).value == 1.0


def test_by_hand():
    map_ = np.full((20, 30), -1.0, np.float32)
    map_[5, 10:15] = 2.0  # five lesion pixels
    map_[19, :10] = 3.0  # ten pixels elsewhere, higher
    assert pointing_game(map_, LESION).value == 0
    assert energy(map_, LESION).value == pytest.approx(10 / 40)
    # the top 50 pixels are those 15 and 35 of the 585 ties, 45 of which are in the lesion
    shared = 5 + 35 * 45 / 585
    assert iou(map_, LESION).value == pytest.approx(shared / (100 - shared))
    assert iou(map_, LESION).chance == pytest.approx(AREA / (2 - AREA))


def test_a_flat_map_scores_chance():
    flat = np.full((20, 30), 0.5, np.float32)
    for score in SCORES:
        value, chance = score.function(flat, LESION)
        assert value == pytest.approx(chance), score.name


def test_no_evidence_scores_nothing():
    assert energy(np.full((20, 30), -1.0, np.float32), LESION).value == 0


@pytest.mark.parametrize("cells", [(7, 7), (200, 300)])
def test_random_maps_score_chance(cells):
    lesion = np.zeros((100, 150), bool)
    lesion[30:60, 70:120] = True
    rng = np.random.default_rng(0)
    maps = [random_map(100, 150, rng, cells) for _ in range(600)]
    for score in SCORES:
        found = np.array([score.function(m, lesion) for m in maps])
        error = found[:, 0].std() / np.sqrt(len(maps))
        tolerance = 4 * error + 0.01  # the IoU of smooth maps is a little above that of noise
        assert abs(found[:, 0].mean() - found[0, 1]) < tolerance, score.name


def test_band_below_follows_the_lesion():
    expected = np.zeros_like(LESION)
    expected[10:15, 10:20] = True
    assert (band_below(LESION) == expected).all()
    low = np.zeros((6, 3), bool)
    low[4, 0] = low[2, 1] = True  # spans three rows
    expected = np.zeros_like(low)
    expected[5, 0] = expected[3:6, 1] = True
    assert (band_below(low) == expected).all()


def test_border_is_the_outer_twentieth():
    map_ = np.zeros((20, 40), np.float32)
    map_[0, :] = 1.0
    map_[10, 20] = 40.0
    found = border(map_, LESION)
    assert found.value == pytest.approx(0.5)
    assert found.chance == pytest.approx(1 - 18 * 36 / 800)


def test_centre_map_is_highest_in_the_middle():
    map_ = centre_map(21, 31)
    assert np.unravel_index(map_.argmax(), map_.shape) == (10, 15)
    assert map_[0, 0] < 0.1


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 30), st.integers(0, 5))
def test_scores_stay_in_bounds_and_ignore_the_scale(seed, lesion_pixels, decimals):
    rng = np.random.default_rng(seed)
    map_ = rng.normal(size=(8, 9)).round(decimals).astype(np.float32)
    lesion = np.zeros(72, bool)
    lesion[rng.permutation(72)[:lesion_pixels]] = True
    lesion = lesion.reshape(8, 9)
    for score in SCORES:
        value, chance = score.function(map_, lesion)
        assert 0 <= value <= 1, score.name
        assert 0 <= chance <= 1, score.name
        assert score.function(4 * map_, lesion).value == pytest.approx(value, abs=1e-6)
