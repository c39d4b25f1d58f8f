"""Inner validation: no relative of a held-out image trains its probe; figures are right."""

from dataclasses import replace

import numpy as np
import pytest
from growth_stubs import toy_features, toy_set
from sklearn.metrics import f1_score, recall_score

from sonobalance.config import SynthesisSettings
from sonobalance.synthesis.inner import Additions, InnerValidation

QUICK = SynthesisSettings(inner_repeats=2, inner_folds=4)


@pytest.fixture(scope="module")
def inner() -> InnerValidation:
    images, groups = toy_set((24, 16, 12))
    rng = np.random.default_rng(0)
    features = toy_features(images).astype(np.float64)
    features += rng.normal(0, features.std(0) * 1.5, features.shape)  # hard enough to err
    return InnerValidation.of(features, images.targets.numpy(), groups, QUICK, seed=0)


def test_groups_stay_whole_in_every_deal(inner):
    assert inner.folds.shape == (2, 52)
    for folds in inner.folds:
        for group in set(inner.groups):
            assert len(set(folds[inner.groups == group])) == 1
    assert (inner.folds[0] != inner.folds[1]).any()


def test_figures_equal_scikit_learn(inner):
    predictions = inner.predict(None)
    f1 = np.mean([f1_score(inner.targets, p, average="macro") for p in predictions])
    assert 0.4 < inner.macro_f1(predictions) < 1
    assert inner.macro_f1(predictions) == pytest.approx(f1)
    truth = np.tile(inner.targets, 2)
    expected = recall_score(truth, predictions.ravel(), average=None)
    assert inner.recalls(predictions) == pytest.approx(expected.tolist())


def test_relatives_of_held_out_images_never_help(inner):
    """Images that betray the answer, but descend from the held-out fold, change nothing."""
    everyone = frozenset(range(52))
    planted = Additions(
        inner.features, inner.features * 3, (inner.targets + 1) % 3, (everyone,) * 52
    )
    assert (inner.predict(planted) == inner.predict(None)).all()
    assert inner.used_share(planted) == 0


def test_unrelated_images_do_help(inner):
    free = Additions(inner.features, inner.features, inner.targets, (frozenset(),) * 52)
    assert inner.used_share(free) == 1
    assert (inner.predict(free) != inner.predict(None)).any()
    assert inner.macro_f1(inner.predict(free)) > inner.macro_f1(inner.predict(None))


def test_synthetic_images_get_at_most_their_share_of_a_class(inner):
    free = Additions(inner.features, inner.features, inner.targets, (frozenset(),) * 52)
    none = replace(inner, share=0.0)
    assert (none.predict(free) == none.predict(None)).all()
    assert (inner.predict(free) != none.predict(free)).any()
    plain = inner.predict(None, balance="none")
    assert (plain != inner.predict(None)).any()


def test_an_image_is_used_for_the_folds_without_its_parents(inner):
    parents = frozenset({0})
    one = Additions(inner.features[:1], inner.features[:1], inner.targets[:1], (parents,))
    assert inner.used_share(one) == pytest.approx(3 / 4)


def test_gain_is_zero_against_itself_and_signed(inner):
    worse = inner.predict(None)
    best = np.tile(inner.targets, (2, 1))
    assert inner.gain(worse, worse, 0) == (0, 0, 0)
    value, low, high = inner.gain(best, worse, 0)
    assert 0 < low < value < high
    assert value == pytest.approx(1 - inner.macro_f1(worse))


def test_interval_of_the_gain_widens_with_larger_groups():
    """One patient with many images tells less than many patients with one each."""
    targets = np.tile([0, 1], 60)
    rng = np.random.default_rng(0)
    folds = np.zeros((1, 120), np.int64)
    wrong = np.repeat(rng.random(12) < 0.4, 10)
    old = np.where(wrong, 1 - targets, targets)[None]
    new = targets[None]
    widths = []
    for size in (1, 10):
        groups = np.array([f"g{i // size}" for i in range(120)])
        inner = InnerValidation(np.zeros((120, 1)), targets, groups, folds)
        _, low, high = inner.gain(new, old, 0)
        widths.append(high - low)
    assert widths[1] > 2 * widths[0]
