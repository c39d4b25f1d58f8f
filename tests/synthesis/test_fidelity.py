"""Distances between sets, against torchmetrics and against values known in closed form."""

import numpy as np
import pytest

from sonobalance.synthesis.fidelity import (
    density_coverage,
    measure_fidelity,
    memorisation_ratio,
    subset_kernel_distance,
)

RNG = np.random.default_rng(0)


def test_subsets_see_a_shift_but_no_difference_where_there_is_none():
    x, same, other = (RNG.normal(m, 1, size=(80, 10)) for m in (0, 0, 1))
    far, _ = subset_kernel_distance(x, other, 0)
    near, spread = subset_kernel_distance(x, same, 0)
    assert abs(near) < 3 * spread < far


def test_density_and_coverage_by_hand():
    """Reals at 0, 1, 10, 11: with k = 1 each ball has radius 1."""
    real = np.array([[0.0], [1.0], [10.0], [11.0]])
    fake = np.array([[0.5], [0.4], [30.0]])
    density, coverage = density_coverage(real, fake, neighbours=1)
    assert density == pytest.approx(4 / 3)  # two fakes in two balls each, of three fakes
    assert coverage == 0.5


def test_equal_distributions_have_density_one_and_high_coverage():
    real, fake = RNG.normal(size=(2, 400, 3))
    density, coverage = density_coverage(real, fake)
    assert density == pytest.approx(1, abs=0.15)
    assert coverage > 0.9


def test_one_repeated_image_covers_little():
    real = RNG.normal(size=(100, 3))
    assert density_coverage(real, real[:1].repeat(100, 0))[1] < 0.2


def test_fidelity_stands_beside_the_real_halves():
    real, fake = RNG.normal(size=(60, 6)), RNG.normal(0.8, 1, size=(40, 6))
    groups = [f"patient {i // 2}" for i in range(60)]
    found = measure_fidelity("benign", real, groups, fake, seed=0, memorisation=1.0)
    assert found is not None
    assert found.kid > found.kid_floor + found.kid_std
    assert found.coverage < found.coverage_floor
    assert measure_fidelity("benign", real, groups, fake[:5], seed=0, memorisation=1.0) is None


def test_memorisation_is_zero_for_copies_and_one_for_strangers():
    among = RNG.uniform(0.2, 0.4, 50)
    assert memorisation_ratio(np.zeros(20), among) == 0
    assert memorisation_ratio(among, among) == 1
