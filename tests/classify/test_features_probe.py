"""Frozen features, the probe against scikit-learn, and out-of-fold honesty."""

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sonobalance.classify.descriptor import LENGTH, describe
from sonobalance.classify.features import extract_features
from sonobalance.classify.probe import cross_fitted, fit_probe
from sonobalance.errors import InputError
from sonobalance.temperature import fit_temperature, mean_log_loss


def table(n=60, f=8, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % classes
    return rng.normal(size=(n, f)) * 5 + 3 + targets[:, None], targets


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("weighted", [False, True])
def test_probe_equals_scikit_learn(classes, weighted):
    x, y = table(classes=classes)
    weights = np.random.default_rng(1).uniform(0.2, 3, len(y)) if weighted else None
    other = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    other.fit(
        x, y, standardscaler__sample_weight=weights, logisticregression__sample_weight=weights
    )
    probe = fit_probe(x, y, c=0.1, weights=weights)
    np.testing.assert_allclose(probe.probabilities(x), other.predict_proba(x), atol=1e-3)


def test_groups_choose_the_regularisation():
    x, y = table()
    assert fit_probe(x, y).c == 0.003
    rng = np.random.default_rng(1)
    noise = fit_probe(rng.normal(size=(60, 40)), y, np.arange(60))
    signal = fit_probe(np.eye(3)[y] + 0.01 * rng.normal(size=(60, 3)), y, np.arange(60))
    assert noise.c < signal.c


def test_a_class_that_one_fold_may_hold_whole_is_no_reason_to_refuse():
    """Patients with several labels: whichever half is left out, a class may go with it."""
    y = np.array([0] * 9 + [1] * 3 + [2] * 2)
    groups = np.array([7, 2, 1, 6, 6, 4, 1, 6, 4, 1, 1, 3, 5, 3])
    x = np.random.default_rng(0).normal(size=(14, 4))
    with pytest.raises(InputError, match="one class fell into one fold"):
        cross_fitted(x, y, groups, 2, seed=2)
    assert fit_probe(x, y, groups, seed=2).c == 0.003


def test_out_of_fold_sees_no_relative():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 2)
    own = rng.normal(size=(30, 50)).repeat(2, axis=0)  # twins share features, labels are chance
    y = np.repeat(np.arange(30) % 2, 2)
    grouped = cross_fitted(own, y, groups, c=1.0).argmax(1) == y
    leaky = cross_fitted(own, y, np.arange(60), c=1.0).argmax(1) == y
    assert leaky.mean() > 0.85
    assert grouped.mean() < 0.8


def test_probes_need_every_class():
    x, y = table()
    with pytest.raises(InputError, match="at least two classes"):
        fit_probe(x, np.zeros(60, int))
    with pytest.raises(InputError, match="at least two classes"):
        fit_probe(x, np.where(y == 1, 2, y))
    with pytest.raises(InputError, match="5 groups"):
        cross_fitted(x, y, np.arange(60) % 4)


def test_descriptor_sees_shape_and_ignores_size():
    rows, columns = np.mgrid[:64, :64]
    disc = (((rows - 32) ** 2 + (columns - 32) ** 2 < 200) * 200).astype(np.uint8)
    square = ((abs(rows - 32) < 13) & (abs(columns - 32) < 13)).astype(np.uint8) * 200
    large = disc.repeat(2, 0).repeat(2, 1)
    assert describe(disc).shape == (LENGTH,)
    np.testing.assert_allclose(describe(large), describe(disc), atol=1e-6)
    assert np.linalg.norm(describe(square) - describe(disc)) > 1


def test_weight_free_features_tell_simple_classes_apart(make_images):
    train, test = make_images(60), make_images(30, seed=1)
    probe = fit_probe(extract_features(train), train.targets, c=0.01)
    hit = probe.probabilities(extract_features(test)).argmax(1) == test.targets.numpy()
    assert hit.mean() > 0.9


def test_backbone_features_are_timms_pooled_features(tmp_path, make_images):
    source = timm.create_model("test_resnet", num_classes=0).eval()
    path = tmp_path / "w.safetensors"
    save_file({k: v.contiguous() for k, v in source.state_dict().items()}, path)
    images = make_images(5, side=48)
    ours = extract_features(images, "test_resnet", path, image_size_px=48, batch_size=2)
    mean, std = (torch.tensor(source.pretrained_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    with torch.no_grad():
        theirs = source((images.pixels.float() / 255 - mean) / std)
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)
    assert extract_features(images, "test_resnet", path, image_size_px=32).shape == (5, 96)


def test_temperature_undoes_overconfidence():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    p = np.exp(log_softmax(logits, 1))
    targets = np.array([rng.choice(3, p=row) for row in p])
    assert fit_temperature(logits * 3, targets) == pytest.approx(3, rel=0.08)
    by_hand = minimize_scalar(lambda t: mean_log_loss(logits * 3 / t, targets), bounds=(0.5, 9))
    assert fit_temperature(logits * 3, targets) == pytest.approx(by_hand.x, rel=1e-3)


def test_temperature_of_separable_images_is_bounded():
    assert fit_temperature(np.eye(3) * 5, np.arange(3)) >= 0.04


def test_features_that_hardly_vary_are_not_blown_up():
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.standard_normal((60, 6)) + y[:, None]
    x[:, 5] *= 1e-3
    unusual = np.array([[0, 0, 0, 0, 0, 1.0]])
    wild, steady = fit_probe(x, y, c=0.1), fit_probe(x, y, c=0.1, blocks=(2, 4))
    assert np.abs(wild.logits(unusual)).max() > 10 * np.abs(steady.logits(unusual)).max()
    spread = x.std(0)
    half = np.repeat([np.median(spread[:2]), np.median(spread[2:])], (2, 4)) / 2
    scaled = (x - x.mean(0)) / ((spread + half) / 1.5)
    model = LogisticRegression(C=0.1, max_iter=2000).fit(scaled, y)
    np.testing.assert_allclose(
        np.diff(steady.logits(x))[:, 0], model.decision_function(scaled), atol=1e-5
    )
