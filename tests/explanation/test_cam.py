"""Class activation maps: values and signs by hand, and against captum and plain hooks."""

import pytest
import torch
from captum.attr import LayerGradCam, LayerGradientXActivation
from torch import nn
from toy_networks import Toy, convolutional

from sonobalance.errors import InputError
from sonobalance.explanation.cam import (
    evidence_of,
    explaining,
    grad_cam,
    grad_cam_plus_plus,
    hires_cam,
    layer_cam,
)
from sonobalance.explanation.layers import Layer, layer_of

WEIGHTS, HEAD = [2.0, -1.0, 3.0], [[1.0, 4.0, -0.5], [-3.0, 1.0, 0.5]]


def evidence(model, layer, images, targets):
    with explaining(model):
        return evidence_of(model, layer, images, torch.tensor(targets))


@pytest.fixture
def images():
    return torch.rand((2, 1, 4, 4), generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_maps_of_a_linear_network_by_hand(images):
    """g_c = head_c / 16 everywhere, A_c = weight_c · x."""
    model, targets = Toy(WEIGHTS, HEAD), [0, 1]
    found = evidence(model, model.layer, images, targets)
    head, weights = torch.tensor(HEAD)[targets], torch.tensor(WEIGHTS)
    evidence_per_pixel = (head * weights).sum(1) / 16
    assert torch.allclose(grad_cam(found), evidence_per_pixel.view(2, 1, 1, 1) * images)
    assert torch.allclose(hires_cam(found), evidence_per_pixel.view(2, 1, 1, 1) * images)
    rising = (head.relu() * weights).sum(1) / 16
    assert torch.allclose(layer_cam(found), rising.view(2, 1, 1, 1) * images)


def test_sign_is_for_or_against_the_class():
    model, bright = Toy([1.0], [[2.0], [-2.0]]), torch.full((2, 1, 4, 4), 0.5)
    found = evidence(model, model.layer, bright, [0, 1])
    for cam in (grad_cam, hires_cam):
        assert (cam(found)[0] > 0).all()
        assert (cam(found)[1] < 0).all()


def test_grad_cam_plus_plus_by_hand(images):
    """With g the same everywhere: α = 1 / (2 + g ΣA), weight = 16 α max(g, 0)."""
    images = images.abs()
    model = Toy([1.0, 2.0], [[0.5, -1.0]])
    found = evidence(model, model.layer, images, [0, 0])
    g = 0.5 / 16  # the second channel speaks against the class, so it has no weight
    alpha = 1 / (2 + g * images.sum((2, 3), keepdim=True))
    assert torch.allclose(grad_cam_plus_plus(found), 16 * alpha * g * images, atol=1e-7)


def test_grad_cam_plus_plus_without_gradient_is_zero(images):
    model = Toy([1.0], [[0.0]])
    found = evidence(model, model.layer, images, [0, 0])
    assert (grad_cam_plus_plus(found) == 0).all()


@pytest.mark.parametrize("at", [1, 3, 6])
def test_grad_cam_and_hirescam_equal_captum(at):
    model, images = convolutional(), torch.randn(3, 1, 16, 16)
    targets = torch.tensor([0, 2, 1])
    found = evidence(model, Layer("x", model[at]), images, targets.tolist())
    captum_cam = LayerGradCam(model, model[at]).attribute(images, targets, relu_attributions=False)
    assert torch.allclose(grad_cam(found), captum_cam, atol=1e-6)
    captum_product = LayerGradientXActivation(model, model[at]).attribute(images, targets)
    assert torch.allclose(hires_cam(found), captum_product.sum(1, keepdim=True), atol=1e-6)


def test_grad_cam_equals_plain_hooks():
    model, image = convolutional(seed=1), torch.randn(1, 1, 16, 16)
    kept = {}
    handle = model[2].register_forward_hook(lambda _m, _i, out: kept.update(a=out))
    logits = model(image)
    handle.remove()
    kept["a"].retain_grad()
    logits[0, 1].backward()
    a, g = kept["a"].detach()[0], kept["a"].grad[0]
    by_hand = sum(g[c].mean() * a[c] for c in range(len(a)))
    found = evidence(model, Layer("x", model[2]), image, [1])
    assert torch.allclose(grad_cam(found)[0, 0], by_hand, atol=1e-6)


def test_hirescam_adds_up_to_the_logit_of_a_linear_head():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))
    images = torch.randn(2, 1, 8, 8)
    found = evidence(model, Layer("relu", model[1]), images, [0, 2])
    total = hires_cam(found).sum((1, 2, 3)) + model[3].bias[[0, 2]]
    assert torch.allclose(total, model(images)[[0, 1], [0, 2]], atol=1e-5)


def test_channels_last_layers_give_the_same_maps():
    class Permute(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    first, images = nn.Conv2d(1, 4, 3), torch.randn(2, 1, 8, 8)
    head = nn.Linear(4, 3)

    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.turn, self.head = first, Permute(), head

        def forward(self, x):
            return self.head(self.turn(self.first(x)).mean((1, 2)))

    model = Last()
    plain = evidence(model, Layer("first", first), images, [0, 1])
    turned = Layer("turn", model.turn, lambda out: out.permute(0, 3, 1, 2))
    assert torch.allclose(grad_cam(evidence(model, turned, images, [0, 1])), grad_cam(plain))


def test_the_model_is_left_as_it_was():
    model = convolutional().train()
    model[0].weight.requires_grad_(False)
    before = {name: (p.requires_grad, p.clone()) for name, p in model.named_parameters()}
    evidence(model, Layer("x", model[2]), torch.randn(2, 1, 16, 16), [0, 1])
    assert model.training
    assert not model[2]._forward_hooks
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == before[name][0]
        assert parameter.grad is None
        assert torch.equal(parameter, before[name][1])


def test_a_layer_off_the_path_is_named():
    model = Toy([1.0], [[1.0]])
    with pytest.raises(InputError, match="'elsewhere'"):
        evidence(model, Layer("elsewhere", nn.Conv2d(1, 1, 1)), torch.zeros(1, 1, 4, 4), [0])


def test_layer_of_a_pair():
    module = nn.ReLU()
    layer = layer_of(("blocks.6", module))
    assert (layer.name, layer.module) == ("blocks.6", module)
    assert layer_of(layer) is layer
