"""Cases are chosen by rule, and drawn."""

import numpy as np
import pytest
from matplotlib import colormaps

from sonobalance.explanation.gallery import choose_cases, outline, shown_size, stem, tinted

IDS = tuple("abcdefgh")
CLASSES = ("benign", "malignant", "normal")
LABELS = np.array([0, 0, 0, 0, 0, 1, 1, 1])
PREDICTED = np.array([0, 0, 0, 0, 2, 1, 0, 0])
CONFIDENCE = np.array([0.7, 0.9, 0.6, 0.8, 0.5, 0.4, 0.5, 0.5])


def chosen(per_class):
    cases = choose_cases(
        LABELS, PREDICTED, CONFIDENCE, ids=IDS, classes=CLASSES, per_class=per_class
    )
    return [(IDS[case.index], case.rule) for case in cases]


def test_two_of_each():
    assert chosen(2) == [
        ("b", "right, benign, most confident"),
        ("c", "right, benign, least confident"),
        ("e", "wrong, benign, the only one"),
        ("f", "right, malignant, the only one"),
        ("g", "wrong, malignant, most confident"),
        ("h", "wrong, malignant, least confident"),
    ]


def test_places_between_are_evenly_spaced():
    assert ("d", "right, benign, number 2 of 4 by confidence") in chosen(4)
    assert [key for key, rule in chosen(1) if rule.startswith("right, benign")] == ["b"]
    assert len(chosen(100)) == len(IDS)


def test_file_names_are_safe_and_unique():
    names = [stem(key) for key in ("a/b (1)", "a-b-1", "../x", "ü" * 300, "")]
    assert len(set(names)) == 5
    for name in names:
        assert name.isascii()
        assert "/" not in name
        assert len(name) < 60


def test_colour_says_evidence_and_nothing_else():
    image = np.full((60, 90), 100, np.uint8)
    map_ = np.full((60, 90), -1.0, np.float32)
    map_[20:40, 30:60] = 2.0
    strong, faint = tinted(image, map_, peak=2.0), tinted(image, map_, peak=200.0)
    outside = np.ones(map_.shape, bool)
    outside[20:40, 30:60] = False
    assert (strong[outside] == 100).all()  # evidence against stays grey
    inside = strong[~outside].astype(int)
    full = np.array(colormaps["viridis"](1.0)[:3]) * 255
    assert np.allclose(inside, 0.3 * 100 + 0.7 * full, atol=1)
    assert np.ptp(faint[~outside].astype(int), axis=1).max() < 15


def test_every_picture_has_the_same_longer_side():
    assert shown_size(np.zeros((60, 90), np.uint8)).shape == (320, 480)
    assert shown_size(np.zeros((900, 300, 3), np.uint8)).shape == (480, 160, 3)


def test_outlines_run_around_the_lesion():
    mask = np.zeros((50, 100), bool)
    mask[10:20, 20:60] = True
    mask[30:40, 70:90] = True
    rings = sorted(outline(mask))
    assert len(rings) == 2
    x, y = np.array(rings[0]).T
    assert (x.min(), x.max()) == pytest.approx((0.205, 0.595))
    assert (y.min(), y.max()) == pytest.approx((0.21, 0.39))
    assert outline(np.zeros((5, 5), bool)) == []
