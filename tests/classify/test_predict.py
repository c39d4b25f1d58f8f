"""One path to probabilities: the same numbers however it is asked."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import softmax

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.predict import Predictor, model_logits
from sonobalance.classify.train import train_classifier
from sonobalance.data.loading import to_unit
from sonobalance.deployment.folded import folded
from sonobalance.errors import InputError


@pytest.fixture
def folder(tmp_path, make_images, small_settings):
    settings = small_settings.model_copy(update={"epochs": 1})
    return train_classifier(
        make_images(9), make_images(6, seed=1), settings, seed=0, folder=tmp_path / "arm",
        device=torch.device("cpu"),
    )  # fmt: skip


def test_batch_size_does_not_matter(folder, make_images):
    predictor, images = Predictor.load(folder), make_images(7, seed=4)
    whole = predictor.logits(images)
    assert whole.dtype == np.float32
    for size in (1, 3):
        np.testing.assert_allclose(predictor.logits(images, batch_size=size), whole, atol=1e-5)


def test_mirror_and_temperature_by_hand(folder, make_images):
    predictor, images = Predictor.load(folder), make_images(4, seed=4)
    x = to_unit(images.pixels)
    with torch.no_grad():
        by_hand = ((predictor.model(x) + predictor.model(x.flip(3))) / 2).numpy()
    np.testing.assert_allclose(predictor.logits(images), by_hand, atol=1e-6)
    np.testing.assert_allclose(
        predictor.probabilities(images), softmax(by_hand / predictor.temperature, 1), atol=1e-6
    )
    mirrored = replace(images, pixels=images.pixels.flip(3))
    np.testing.assert_allclose(predictor.logits(images), predictor.logits(mirrored), atol=1e-6)


def test_only_what_timm_lets_overwrite_its_input_does_so(make_images):
    """A shortcut of a network without norms reads what its activation was given."""
    torch.manual_seed(0)
    model = AttentiveClassifier("nf_regnet_b0", 3, image_size_px=32).eval()
    images = make_images(4)
    with torch.no_grad():
        plain = model(to_unit(images.pixels)).numpy()
        fast = folded(model, 32)(to_unit(images.pixels)).numpy()
    np.testing.assert_allclose(model_logits(model, images), plain, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(fast, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backbone", ["test_efficientnet", "mobilenetv2_035", "test_convnext"])
def test_working_in_place_changes_no_logit_and_ends(make_images, backbone):
    torch.manual_seed(0)
    model = AttentiveClassifier(
        backbone, 3, "both", 32, lesion_attention=True, partners=[backbone]
    ).eval()
    for member in (model, model.partners[0]):
        torch.nn.init.normal_(member.lesion.draw.weight)
        torch.nn.init.normal_(member.lesion.classify.weight)
    images = make_images(4)
    with torch.no_grad():
        plain = model(to_unit(images.pixels)).numpy()
    np.testing.assert_allclose(model_logits(model, images), plain, rtol=1e-5, atol=1e-5)
    assert not any(getattr(m, "inplace", False) for m in model.modules())


def test_loading_gives_the_network_in_evaluation_mode(folder):
    predictor = Predictor.load(folder, "cpu")
    assert not predictor.model.training
    assert predictor.classes == ("disc", "nothing", "square")
    assert predictor.image_size_px == 32
    assert predictor.model.target_layer.name == "layer3"  # at 32 px layer4 has one position left


def test_other_weights_than_the_page_names_are_refused(folder):
    path = folder / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="SHA-256 differs"):
        Predictor.load(folder)
    path.unlink()
    with pytest.raises(InputError, match="there are none"):
        Predictor.load(folder)


def test_another_format_and_a_missing_entry_are_refused(folder):
    page = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({k: page[k] for k in page if k != "temperature"}))
    with pytest.raises(InputError, match=r"to have temperature\."):
        Predictor.load(folder)
    (folder / "model.json").write_text(json.dumps(page | {"format": "other"}))
    with pytest.raises(InputError, match="sonobalance-classifier-1"):
        Predictor.load(folder)


def test_images_of_other_classes_are_refused(folder, make_images):
    images = make_images(3)
    other = replace(images, classes=("a", "b", "c"))
    with pytest.raises(InputError, match="'a', 'b', 'c'"):
        Predictor.load(folder).logits(other)


def test_no_images_no_rows(folder, make_images):
    assert Predictor.load(folder).probabilities(make_images(3).take([])).shape == (0, 3)
