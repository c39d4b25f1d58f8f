"""Frozen training: the head equals an independent regression, and features are computed once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from sonobalance.classify import feature_store
from sonobalance.classify.feature_store import FeatureStore, digest_of_features
from sonobalance.classify.frozen import fit_focal, mirrored, train_frozen
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.predict import Predictor
from sonobalance.classify.probe import fit_probe
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages

CPU = torch.device("cpu")


def trained(
    make: Callable[..., LabelledImages],
    folder: Path,
    store: FeatureStore | None = None,
    *,
    rare: bool = False,
    **changes: object,
) -> Predictor:
    settings = ClassifierSettings.model_validate(
        {"backbone": "test_resnet", "image_size_px": 32, "attention": "none"} | changes
    )
    train = make(48, seed=0)
    train = train.take([i for i in range(48) if i % 3 < 2 or i % 2]) if rare else train
    train_frozen(
        train, make(18, seed=1, prefix="v"), settings,
        groups=[key[:-1] + str(int(key[-1]) // 2) for key in train.ids],
        seed=0, folder=folder, device=CPU, store=store,
    )  # fmt: skip
    return Predictor.load(folder)


def test_the_head_is_a_logistic_regression_on_frozen_features(
    make_images: Callable[..., LabelledImages], tmp_path: Path
) -> None:
    predictor = trained(make_images, tmp_path)
    train = make_images(48, seed=0)
    store = FeatureStore(None)
    x = np.concatenate([store.features(predictor.model, view) for view in (train, mirrored(train))])
    y = np.tile(train.targets.numpy(), 2)
    mean, std = x.mean(0), x.std(0)
    page = json.loads((tmp_path / "model.json").read_text())
    assert page["epochs"] == 0
    found = False
    for c in (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1):
        model = LogisticRegression(C=c / 2, max_iter=5000).fit(
            (x - mean) / np.where(std > 0, std, 1), y
        )
        ours = predictor.model.head.weight.detach().numpy() * std  # type: ignore[union-attr]
        found |= bool(np.allclose(ours, model.coef_, atol=1e-3))
    assert found


def test_it_learns_what_a_probe_can(
    make_images: Callable[..., LabelledImages], tmp_path: Path
) -> None:
    test = make_images(60, seed=5)
    right = trained(make_images, tmp_path).probabilities(test).argmax(1) == test.targets.numpy()
    assert right.mean() > 0.6


@pytest.mark.parametrize(
    "changes",
    [{"balance": "class-weights"}, {"balance": "over-sampling"}, {"focal_gamma": 2.0},
     {"augmentation": "strong"}],
)  # fmt: skip
def test_every_cheap_treatment_changes_the_head(
    make_images: Callable[..., LabelledImages], tmp_path: Path, changes: dict[str, object]
) -> None:
    images = make_images(24, seed=7)
    plain = trained(make_images, tmp_path / "plain", rare=True)
    other = trained(make_images, tmp_path / "other", rare=True, **changes)
    assert np.abs(plain.logits(images) - other.logits(images)).max() > 1e-3
    if "balance" in changes:  # the rare class is called more often
        assert other.logits(images)[:, 2].mean() > plain.logits(images)[:, 2].mean()


@pytest.mark.parametrize("classes", [2, 3])
def test_the_focal_fit_without_focus_is_the_probe(classes: int) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, classes, 90)
    x = rng.normal(size=(90, 12)) + y[:, None] * 0.7
    weights = rng.uniform(0.5, 2, 90)
    ours = fit_focal(x, y, weights, c=0.1, gamma=0.0)
    theirs = fit_probe(x, y, c=0.1, weights=weights)
    np.testing.assert_allclose(ours.probabilities(x), theirs.probabilities(x), atol=1e-3)
    focused = fit_focal(x, y, weights, c=0.1, gamma=2.0)
    assert focused.probabilities(x).max(1).mean() < ours.probabilities(x).max(1).mean()


def test_features_are_computed_once_and_by_content(
    make_images: Callable[..., LabelledImages], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    real = feature_store.model_features

    def counting(model, images, **given):  # type: ignore[no-untyped-def]
        seen.append(len(images))
        return real(model, images, **given)

    monkeypatch.setattr(feature_store, "model_features", counting)
    trained(make_images, tmp_path / "a", FeatureStore(tmp_path / "store"))
    assert sum(seen) == 96
    first = trained(make_images, tmp_path / "b", FeatureStore(tmp_path / "store"))
    assert sum(seen) == 96
    other = trained(make_images, tmp_path / "c")
    images = make_images(6, seed=9)
    np.testing.assert_array_equal(first.logits(images), other.logits(images))


def test_the_same_weights_in_another_architecture_are_another_network(
    make_images: Callable[..., LabelledImages], tmp_path: Path
) -> None:
    names = ("efficientnet_b0", "tf_efficientnet_b0")  # they pad differently
    models = [AttentiveClassifier(name, 3, image_size_px=32).eval() for name in names]
    models[1].load_state_dict(models[0].state_dict())
    store, images = FeatureStore(tmp_path), make_images(4)
    a, b = (store.features(model, images) for model in models)
    assert not np.allclose(a, b, rtol=0.01)


def test_another_network_or_a_damaged_store_is_not_believed(
    make_images: Callable[..., LabelledImages], tmp_path: Path
) -> None:
    images = make_images(4)
    torch.manual_seed(0)
    models = [AttentiveClassifier("test_resnet", k, image_size_px=32).eval() for k in (3, 3)]
    store = FeatureStore(tmp_path)
    a, b = (store.features(model, images) for model in models)
    assert not np.allclose(a, b)
    path = tmp_path / f"{digest_of_features(models[0])[:16]}.safetensors"
    path.write_bytes(b"damaged")
    np.testing.assert_array_equal(FeatureStore(tmp_path).features(models[0], images), a)
