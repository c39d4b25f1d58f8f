"""Localisation scores: worked out by hand, perfect, flat, and random maps."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonobalance.explanation.localisation import (
    SCORES,
    Regions,
    band_below,
    border,
    centre_map,
    energy,
    iou,
    pointing_game,
    random_map,
    scores_of,
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
    found = scores_of(flat, Regions(LESION, ~LESION))
    assert set(found) == {score.name for score in SCORES}
    for name, (value, chance) in found.items():
        assert value == pytest.approx(chance), name


def test_only_known_regions_are_scored():
    map_ = np.ones((20, 30), np.float32)
    assert set(scores_of(map_, Regions())) == {"border"}
    assert set(scores_of(map_, Regions(marks=LESION))) == {"border", "marks"}


def test_no_evidence_scores_nothing():
    against = -np.arange(1, 601, dtype=np.float32).reshape(20, 30)
    assert energy(against, LESION).value == 0


@pytest.mark.parametrize("cells", [(7, 7), (200, 300)])
def test_random_maps_score_chance(cells):
    lesion = np.zeros((100, 150), bool)
    lesion[30:60, 70:120] = True
    rng = np.random.default_rng(0)
    found = [scores_of(random_map(100, 150, rng, cells), Regions(lesion)) for _ in range(400)]
    for name in found[0]:
        table = np.array([scores[name] for scores in found])
        error = table[:, 0].std() / np.sqrt(len(table))
        tolerance = 4 * error + 0.01  # the IoU of smooth maps is a little above that of noise
        assert abs(table[:, 0].mean() - table[0, 1]) < tolerance, name


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
    found = border(map_, np.ones((20, 40), bool))
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
    larger = scores_of(4 * map_, Regions(lesion))
    for name, (value, chance) in scores_of(map_, Regions(lesion)).items():
        assert 0 <= value <= 1, name
        assert 0 <= chance <= 1, name
        assert larger[name].value == pytest.approx(value, abs=1e-6)
