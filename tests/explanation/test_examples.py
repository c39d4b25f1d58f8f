"""Nearest TRAIN images: order, kinds apart, and agreement by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_explain import study

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.data.loading import LabelledImages
from sonobalance.explanation.examples import Known, Likeness, agreement, likeness
from sonobalance.explanation.layers import layer_of
from sonobalance.explanation.study import Study


def labelled(targets, prefix, side=64, seed=0):
    rng = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (len(targets), 1, side, side), generator=rng).byte()
    ids = tuple(f"{prefix}{i}" for i in range(len(targets)))
    return LabelledImages(pixels, torch.tensor(targets), ids, ("benign", "malignant"))


def asked(model, layer, images):
    *_, settings = study()
    n = len(images)
    p = np.tile([0.9, 0.1], (n, 1))
    originals = [square.numpy() for square in images.pixels[:, 0]]
    groups = np.array([str(i) for i in range(n)])
    return Study(model, layer, images, originals, [None] * n, [None] * n, groups, p, settings, 0)


def test_real_images_come_first_and_each_kind_nearest_first():
    known = Known(labelled([0, 1, 1, 0], "t"), labelled([1, 0, 1], "s"))
    real = np.array([[0.1, 0.9, 0.5, 0.7]], np.float32)
    found = Likeness(known, real, np.array([[0.95, 0.2, 0.99]], np.float32)).nearest(0)
    assert [n["id"] for n in found] == ["t1", "t3", "t2", "s2", "s0"]
    assert [n["origin"] for n in found] == ["real"] * 3 + ["synthetic"] * 2
    assert found[0] == {"id": "t1", "label": "malignant", "origin": "real", "likeness": 0.9}


def test_an_image_is_most_like_itself():
    torch.manual_seed(0)
    model = AttentiveClassifier("test_resnet", 2, "none", 64)
    images = labelled([0, 1, 0, 1], "t")
    found = likeness(asked(model, layer_of(model.target_layer), images), Known(images))
    assert found.synthetic is None
    assert found.real.argmax(1).tolist() == [0, 1, 2, 3]
    assert np.allclose(found.real.diagonal(), 1, atol=1e-5)


def test_agreement_by_hand():
    """Of the five nearest of six, the predicted class 0 has two or three."""
    images, known = labelled([0, 1], "i"), Known(labelled([0, 0, 0, 1, 1, 1], "t"))
    torch.manual_seed(0)
    model = AttentiveClassifier("test_resnet", 2, "none", 64)
    real = np.array([[0.9, 0.8, 0.1, 0.7, 0.6, 0.5], [0.9, 0.8, 0.7, 0.6, 0.5, 0.1]], np.float32)
    found = agreement(
        asked(model, layer_of(model.target_layer), images), Likeness(known, real, None)
    )
    assert found["neighbours"] == 5
    assert found["predicted"]["value"] == pytest.approx((2 / 5 + 3 / 5) / 2)
    assert found["true"]["value"] == pytest.approx((2 / 5 + 2 / 5) / 2)
    assert found["true"]["chance"] == 0.5


def test_a_network_without_features_has_no_neighbours():
    model, layer, images, *_ = study()
    assert likeness(replace(asked(model, layer, images)), Known(images)) is None
