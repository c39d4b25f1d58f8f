"""All maps in one convention: sign, size, geometry, and independence of the batch size."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from toy_networks import Toy, blob_images, convolutional

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.data.images import letterbox, letterbox_of
from sonobalance.errors import InputError
from sonobalance.explanation.baselines import blurred, local_mean
from sonobalance.explanation.cam import explaining
from sonobalance.explanation.layers import Layer, layer_of
from sonobalance.explanation.maps import (
    CAMS,
    GATE,
    HEAVY,
    SENTENCES,
    Cost,
    cheap_maps,
    heavy_map,
    integrated_gradients,
    native_grids,
    occlusion,
    probabilities_of,
    to_originals,
)


def all_maps(model, layer, images, targets, cost=Cost(4, 8)):  # noqa: B008
    found = cheap_maps(model, layer, images, targets, cost)
    return found | {name: heavy_map(name, model, images, targets, cost) for name in HEAVY}


def test_every_map_finds_what_speaks_for_and_what_speaks_against():
    """Class 0 likes bright pixels, class 1 dislikes them; the only bright pixels are the square."""
    images, masks = blob_images(4, 28)
    model = Toy([1.0], [[50.0], [-50.0]])
    for sign, k in ((1, 0), (-1, 1)):
        targets = torch.full((4,), k)
        for name, maps in all_maps(model, model.layer, (images + 1) / 2, targets).items():
            if name in ("grad-cam++", "layer-cam") and k == 1:
                continue  # these two look at rising scores only
            assert maps.shape == images.shape, name
            assert maps.dtype == torch.float32
            for one, mask in zip(maps[:, 0], masks, strict=True):
                assert sign * one[mask].mean() > 0, name
                assert sign * one[mask].mean() > 2 * (sign * one[~mask]).mean(), name


def test_maps_are_not_rescaled_per_image():
    images, _ = blob_images(2, 16)
    targets = torch.zeros(2, dtype=torch.int64)
    weak, strong = Toy([1.0], [[1.0]]), Toy([1.0], [[10.0]])
    low = all_maps(weak, weak.layer, images, targets)
    high = all_maps(strong, strong.layer, images, targets)
    for name in ("grad-cam", "hirescam", "layer-cam", *HEAVY):
        assert torch.allclose(high[name], 10 * low[name], rtol=1e-3, atol=1e-4), name


def test_maps_do_not_depend_on_the_batch_size():
    model, images = convolutional(), torch.randn(5, 1, 20, 20)
    targets = torch.tensor([0, 1, 2, 0, 1])
    layer = Layer("x", model[4])
    once = all_maps(model, layer, images, targets, Cost(16, 8))
    again = all_maps(model, layer, images, targets, Cost(2, 8))
    for name, maps in once.items():
        assert torch.allclose(maps, again[name], atol=1e-5), name


def test_integrated_gradients_add_up_to_the_change_of_the_logit():
    model, images = convolutional(), torch.rand(3, 1, 24, 24)
    targets = torch.tensor([0, 1, 2])
    with explaining(model):
        change = (model(images) - model(blurred(images))).gather(1, targets[:, None])[:, 0]
    total = integrated_gradients(model, images, targets, Cost(4, 200)).sum((1, 2, 3))
    assert torch.allclose(total, change, atol=2e-3)


def test_occlusion_equals_a_plain_loop():
    model, image = convolutional(), torch.rand(1, 1, 14, 14)
    window, stride, side = 2, 1, 14  # S / 7 and S / 10
    blur = blurred(image)
    fall, cover = torch.zeros(side, side), torch.zeros(side, side)
    with torch.no_grad():
        full = model(image)[0, 1]
        for y in range(0, side - window + 1, stride):
            for x in range(0, side - window + 1, stride):
                changed = image.clone()
                there = (..., slice(y, y + window), slice(x, x + window))
                changed[there] = blur[there]
                fall[there] += full - model(changed)[0, 1]
                cover[there] += 1
    ours = occlusion(model, image, torch.tensor([1]), Cost(8))
    assert torch.allclose(ours[0, 0], fall / cover, atol=1e-5)


def test_maps_return_to_the_geometry_of_the_original():
    original = np.zeros((40, 90), np.uint8)
    original[8:16, 60:80] = 255
    square = torch.from_numpy(letterbox(original, 45)).float()[None, None]
    back = to_originals(square, [letterbox_of(40, 90, 45)])[0]
    assert back.shape == original.shape
    assert back.dtype == np.float32
    assert ((back > 127) == (original > 0)).mean() > 0.97


class Gated(nn.Module):
    """A network whose gate is the brightness, on half the grid."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(1, 2, 1)
        self.seen = None

    def forward(self, images):
        self.seen = nn.functional.avg_pool2d(images, 2)
        return self.body(images).mean((2, 3))

    def gates(self):
        return namedtuple("Gates", "channel spatial")(None, self.seen)


def test_gate_is_relative_to_its_mean():
    model, (images, masks) = Gated(), blob_images(2, 16)
    layer = Layer("body", model.body)
    targets = torch.zeros(2, dtype=torch.int64)
    gate = cheap_maps(model, layer, images, targets, Cost())[GATE]
    assert gate.shape == images.shape
    assert gate.mean() == pytest.approx(0, abs=1e-6)
    assert (gate[:, 0][masks] > 0).float().mean() > 0.9
    grids = native_grids(model, layer, images, targets)
    assert grids[GATE] == (8, 8)
    assert grids["grad-cam"] == (16, 16)


@pytest.mark.parametrize(("backbone", "attention"), [("resnet10t", "both"), ("test_vit", "none")])
def test_classifiers_of_several_layouts_are_explained(backbone, attention):
    torch.manual_seed(0)
    side = 160 if backbone == "test_vit" else 64
    model = AttentiveClassifier(backbone, 3, attention, side)
    layer = layer_of(model.target_layer)
    maps = cheap_maps(model, layer, torch.rand(2, 1, side, side), torch.tensor([0, 2]), Cost())
    assert set(maps) == {*CAMS, *([GATE] if attention == "both" else [])}
    assert maps["grad-cam"].shape == (2, 1, side, side)
    assert maps["grad-cam"].std() > 0
    if attention == "both":
        assert (maps[GATE] == 0).all()  # fresh gates are the identity


def test_probabilities_are_the_softmax_in_evaluation_mode():
    model, images = convolutional().train(), torch.randn(5, 1, 16, 16)
    found = probabilities_of(model, images, 2)
    assert torch.allclose(found, model.eval()(images).softmax(1), atol=1e-6)


def test_baselines_keep_brightness_and_lose_detail():
    images, _ = blob_images(2, 32)
    for baseline in (blurred, local_mean):
        found = baseline(images)
        assert found.shape == images.shape
        assert found.std() < 0.8 * images.std()
        assert torch.allclose(baseline(torch.full_like(images, 0.3)), torch.tensor(0.3))


def test_names_are_explained_and_unknown_ones_refused():
    assert set(SENTENCES) == {*CAMS, *HEAVY, GATE}
    model = Toy([1.0], [[1.0]])
    with pytest.raises(InputError, match="'lime'"):
        heavy_map("lime", model, torch.zeros(1, 1, 8, 8), torch.tensor([0]), Cost())
