"""The law of a benchmark's time is found again where times follow it."""

from itertools import product

import pytest


@pytest.fixture
def law(module):
    return module("benchmark_growth").law


def row(images, folds, seconds=None):
    train = images * (1 - 1 / folds - 0.16)
    made = 20 + 5 * folds + 0.5 * folds * train
    return {
        "images": images, "folds": folds, "images_per_unit": {"train": train},
        "processor_seconds": made if seconds is None else seconds,
    }  # fmt: skip


def test_times_that_follow_the_law_give_it_back(law):
    found = law([row(*of) for of in product((60, 120, 240), (3, 5))])
    assert found == pytest.approx({
        "fixed_seconds": 20, "seconds_per_unit": 5, "seconds_per_train_image_and_unit": 0.5,
        "r_squared": 1,
    })  # fmt: skip


def test_times_that_do_not_are_not_explained(law):
    rows = [row(*of, seconds=s) for of, s in zip(
        product((60, 120, 240), (3, 5)), (9, 1, 1, 9, 9, 1), strict=True
    )]  # fmt: skip
    assert law(rows)["r_squared"] < 0.5


def test_too_few_rows_have_no_law(law):
    assert law([row(60, 3), row(120, 3), row(60, 5)]) == {}
