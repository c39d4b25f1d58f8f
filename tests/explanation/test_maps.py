"""All maps in one convention: sign, size, geometry, and independence of the batch size."""

from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.transforms.functional import gaussian_blur
from toy_networks import Toy, blob_images, convolutional

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.data.images import letterbox, letterbox_of
from sonobalance.errors import InputError
from sonobalance.explanation.attributions import (
    HEAVY,
    heavy_map,
    integrated_gradients,
    occlusion,
)
from sonobalance.explanation.baselines import blurred, gaussian, local_mean
from sonobalance.explanation.cam import explaining
from sonobalance.explanation.inputs import Inputs, inside_of
from sonobalance.explanation.layers import Layer, fine_layers, layer_of
from sonobalance.explanation.maps import (
    CAMS,
    ENERGY,
    EXACT,
    FINE,
    GATE,
    SENTENCES,
    Cost,
    agreeing,
    cheap_maps,
    gradient_energy,
    native_grids,
    probabilities_of,
    to_originals,
)
from sonobalance.explanation.measure import contrast


def all_maps(model, layer, images, targets, cost=Cost(4, 8)):  # noqa: B008
    inputs = Inputs.of_squares(images, targets)
    found = cheap_maps(model, layer, inputs, cost)
    return found | {name: heavy_map(name, model, inputs, cost) for name in HEAVY}


def test_every_map_finds_what_speaks_for_and_what_speaks_against():
    """Class 0 likes bright pixels, class 1 dislikes them; the only bright pixels are the square."""
    images, masks = blob_images(4, 28)
    model = Toy([1.0], [[50.0], [-50.0]])
    for sign, k in ((1, 0), (-1, 1)):
        targets = torch.full((4,), k)
        for name, maps in all_maps(model, model.layer, (images + 1) / 2, targets).items():
            if name in ("grad-cam++", "layer-cam", ENERGY) and (k == 1 or name == ENERGY):
                continue  # two look at rising scores only, and one knows no sign
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
        gone = model(images) - model(blurred(images, torch.ones_like(images, dtype=torch.bool)))
        change = gone.gather(1, targets[:, None])[:, 0]
    inputs = Inputs.of_squares(images, targets)
    total = integrated_gradients(model, inputs, Cost(4, 200)).sum((1, 2, 3))
    assert torch.allclose(total, change, atol=2e-3)


def test_occlusion_equals_a_plain_loop():
    model, image = convolutional(), torch.rand(1, 1, 14, 14)
    window, stride, side = 2, 1, 14  # S / 7 and S / 10
    blur = blurred(image, torch.ones_like(image, dtype=torch.bool))
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
    ours = occlusion(model, Inputs.of_squares(image, torch.tensor([1])), Cost(8))
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
    gate = cheap_maps(model, layer, Inputs.of_squares(images, targets), Cost())[GATE]
    assert gate.shape == images.shape
    assert gate.mean() == pytest.approx(0, abs=1e-6)
    assert (gate[:, 0][masks] > 0).float().mean() > 0.9
    grids = native_grids(model, layer, images)
    assert grids[GATE] == (8, 8)
    assert grids["grad-cam"] == (16, 16)


BACKBONES = {  # name → side, last layer, its grid, fine layers
    "resnet18": (64, "layer4", 2, ["layer1", "layer2"]),
    "mobilenetv2_050": (64, "bn2", 2, ["blocks.1", "blocks.2"]),
    "efficientnet_b0": (64, "bn2", 2, ["blocks.1", "blocks.2"]),
    "convnext_atto": (64, "norm_pre", 2, ["stages.0", "stages.1"]),
    "densenet121": (64, "features", 2, ["features.denseblock1", "features.denseblock2"]),
    "test_vit": (160, "blocks.5.norm1", 10, []),
}


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("attention", ["both", "none"])
def test_backbones_of_every_kind_are_explained_without_being_told_where(backbone, attention):
    torch.manual_seed(0)
    side, last, grid, fine = BACKBONES[backbone]
    model = AttentiveClassifier(backbone, 3, attention, side)
    layer = layer_of(model.target_layer)
    images, targets = torch.rand(2, 1, side, side), torch.tensor([0, 2])
    maps = cheap_maps(model, layer, Inputs.of_squares(images, targets), Cost())
    grids = native_grids(model, layer, images[:1])
    assert (layer.name, grids["grad-cam"]) == (last, (grid, grid))
    assert [one.name for one in fine_layers(model, side)] == fine
    for name in (*CAMS, *([FINE] if fine else [])):
        assert maps[name].shape == (2, 1, side, side)
        assert torch.isfinite(maps[name]).all()
        assert maps[name].std() > 0, name
    assert (GATE in maps) == (attention == "both")
    if attention == "both":
        assert (maps[GATE] == 0).all()  # fresh gates are the identity


def test_lesion_attention_gives_its_own_exact_map():
    torch.manual_seed(0)
    model = AttentiveClassifier("test_resnet", 3, "none", 64, lesion_attention=True)
    torch.nn.init.normal_(model.lesion.classify.weight)
    images, targets = torch.rand(2, 1, 64, 64), torch.tensor([0, 2])
    layer = layer_of(model.target_layer)
    maps = cheap_maps(model, layer, Inputs.of_squares(images, targets), Cost())
    exact = model.eval().evidence(images, targets).detach()
    assert next(iter(maps)) == EXACT
    assert maps[EXACT].shape == images.shape
    pooled = nn.functional.adaptive_avg_pool2d(maps[EXACT], exact.shape[-2:])
    assert torch.corrcoef(torch.stack([pooled.flatten(), exact.flatten()]))[0, 1] > 0.99
    assert native_grids(model, layer, images)[EXACT] == tuple(exact.shape[-2:])


def test_agreeing_is_the_signed_geometric_mean():
    one = torch.tensor([4.0, -4.0, 4.0, 0.0, -9.0])
    other = torch.tensor([9.0, -1.0, -9.0, 3.0, 4.0])
    assert torch.allclose(agreeing(one, other), torch.tensor([6.0, -2.0, 0.0, 0.0, 0.0]))
    assert torch.allclose(agreeing(one), one)


def test_with_the_mirror_a_map_is_the_mean_of_both_views():
    model, images = convolutional(), torch.randn(3, 1, 20, 20)
    targets, layer = torch.tensor([0, 1, 2]), Layer("x", model[4])
    plain = all_maps(model, layer, images, targets)
    turned = all_maps(model, layer, images.flip(3), targets)
    both = all_maps(model, layer, images, targets, Cost(4, 8, mirror=True))
    assert set(both) == set(plain)
    for name, maps in both.items():
        assert torch.allclose(maps, (plain[name] + turned[name].flip(3)) / 2, atol=1e-6), name


def test_gradient_energy_by_hand():
    """Class 0 looks at the left half only: gradient 2 / pixels there, 0 elsewhere, smoothed."""

    class Left(nn.Module):
        def forward(self, images):
            left = images[..., : images.shape[-1] // 2].mean((1, 2, 3))
            return torch.stack([2 * left, -3 * left], 1)

    images, model = torch.rand(2, 1, 54, 54), Left()
    found = gradient_energy(model, Inputs.of_squares(images, torch.tensor([0, 1])))
    per_pixel = torch.tensor([2.0, -3.0]) / (54 * 27)
    assert torch.allclose(found[..., :20].mean((1, 2, 3)), per_pixel**2, rtol=1e-4)
    assert torch.allclose(found[..., 34:], torch.zeros(1), atol=1e-12)
    edge = found[..., 26] / found[..., 0]  # just left of the edge a little more than half is seen
    assert ((edge > 0.5) & (edge < 0.7)).all()


class Counting(nn.Module):
    """Remembers the largest batch that it was asked for."""

    def __init__(self):
        super().__init__()
        self.inner, self.largest = convolutional(), 0

    def forward(self, images):
        self.largest = max(self.largest, len(images))
        return self.inner(images)


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("mirror", [False, True])
def test_no_pass_of_a_costly_map_holds_more_images_than_allowed(name, mirror):
    model = Counting()
    inputs = Inputs.of_squares(torch.randn(11, 1, 20, 20), torch.arange(11) % 3)
    heavy_map(name, model, inputs, Cost(4, 50, mirror=mirror))
    assert 1 < model.largest <= 4


def test_probabilities_are_the_softmax_in_evaluation_mode():
    model, images = convolutional().train(), torch.randn(5, 1, 16, 16)
    found = probabilities_of(model, images, 2)
    assert torch.allclose(found, model.eval()(images).softmax(1), atol=1e-6)


@pytest.mark.parametrize(("side", "sigma"), [(40, 2.5), (9, 4.0)])
def test_the_gaussian_is_that_of_torchvision(side, sigma):
    images, size = torch.randn(2, 1, side, side), 2 * min(int(3 * sigma), side - 1) + 1
    theirs = gaussian_blur(images, [size, size], [sigma, sigma])
    torch.testing.assert_close(gaussian(images, sigma), theirs, atol=1e-5, rtol=1e-5)


def test_baselines_keep_brightness_and_lose_detail():
    images, _ = blob_images(2, 32)
    everywhere = torch.ones_like(images, dtype=torch.bool)
    for baseline in (blurred, local_mean):
        found = baseline(images, everywhere)
        assert found.shape == images.shape
        assert found.std() < 0.8 * images.std()
        flat = baseline(torch.full_like(images, 0.3), everywhere)
        assert torch.allclose(flat, torch.tensor(0.3), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(20, 32), (32, 18)])
def test_padding_takes_no_part_in_what_stands_in_and_makes_no_edge(height, width):
    inside = inside_of([letterbox_of(height, width, 32)])
    flat = torch.where(inside, 0.4, -1.0)
    for baseline in (blurred, local_mean):
        assert torch.allclose(baseline(flat, inside), flat, atol=1e-6)
    assert contrast(Inputs(flat, torch.tensor([0]), inside)).max() < 1e-10
    grey = torch.where(inside, torch.rand(1, 1, 32, 32), -1.0)
    other = torch.where(inside, grey, 1.0)
    for baseline in (blurred, local_mean):
        assert torch.equal(baseline(other, inside)[inside], baseline(grey, inside)[inside])
        assert (baseline(grey, inside)[~inside] == -1).all()


def test_gradient_energy_of_an_edge_is_not_thinned_by_padding():
    class Sum(nn.Module):
        def forward(self, images):
            return images.sum((1, 2, 3))[:, None]

    inside = inside_of([letterbox_of(16, 32, 32)])
    inputs = Inputs(torch.rand(1, 1, 32, 32), torch.tensor([0]), inside)
    found = gradient_energy(Sum(), inputs)
    assert torch.allclose(found[inside], torch.ones(1), atol=1e-6)
    assert (found[~inside] == 0).all()


def test_names_are_explained_and_unknown_ones_refused():
    assert set(SENTENCES) == {*CAMS, *HEAVY, ENERGY, EXACT, FINE, GATE}
    model = Toy([1.0], [[1.0]])
    black = Inputs.of_squares(torch.zeros(1, 1, 8, 8), torch.tensor([0]))
    with pytest.raises(InputError, match="'lime'"):
        heavy_map("lime", model, black, Cost())
