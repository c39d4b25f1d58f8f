"""The network is the timm model until its gates have learnt something."""

import copy

import pytest
import timm
import torch
from captum.attr import LayerGradCam

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.errors import SettingsError
from sonobalance.explanation.cam import evidence_of
from sonobalance.explanation.layers import layer_of

BACKBONES = ["test_resnet", "test_efficientnet", "test_vit", "test_convnext"]


def images(n=2, side=64):
    return torch.rand(n, 1, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1


def pair(backbone, attention="both"):
    """A gated network and one without gates, with equal weights."""
    gated = AttentiveClassifier(backbone, 3, attention, 64).eval()
    plain = AttentiveClassifier(backbone, 3, "none", 64).eval()
    plain.backbone.load_state_dict(gated.backbone.state_dict())
    return gated, plain


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("attention", ["channel", "spatial", "both"])
def test_fresh_gates_leave_the_logits_alone(backbone, attention):
    gated, plain = pair(backbone, attention)
    assert torch.equal(gated(images()), plain(images()))


def test_gates_go_to_the_stages_that_are_named():
    every = AttentiveClassifier("test_resnet", 3, "both", 64, attention_stages=16)
    names = list(every.gated)
    some = AttentiveClassifier("test_resnet", 3, "both", 64, attention_at=(2, 0))
    assert list(some.gated) == [names[0], names[2]]
    with pytest.raises(SettingsError, match=f"attention_at` below {len(names)}, .* but got 9"):
        AttentiveClassifier("test_resnet", 3, "both", 64, attention_at=(9,))


def test_without_gates_it_is_timms_own_network():
    model = AttentiveClassifier("test_resnet", 3, "none", 64).eval()
    other = timm.create_model("test_resnet", num_classes=3).eval()
    other.load_state_dict(model.backbone.state_dict())
    mean, std = (torch.tensor(other.pretrained_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))
    rgb = ((images() + 1) / 2).repeat(1, 3, 1, 1)
    torch.testing.assert_close(model(images()), other((rgb - mean) / std))
    assert not list(model.attention.parameters())


@pytest.mark.parametrize("backbone", BACKBONES)
def test_learnt_gates_change_the_logits_and_show_their_maps(backbone):
    gated, plain = pair(backbone)
    for gates in gated.gated.values():
        torch.nn.init.normal_(gates.spatial.conv.weight)
        torch.nn.init.normal_(gates.channel.expand.weight)
    assert not torch.allclose(gated(images()), plain(images()), atol=1e-4)
    maps = gated.gates()
    last = list(gated.gated.values())[-1]
    torch.testing.assert_close(maps.channel, last.channel.last.flatten(1))
    assert maps.spatial.shape == (2, 1, 4, 4)  # the finest gated stage divides by 16
    assert maps.spatial.std() > 0


def test_spatial_map_is_the_product_over_stages():
    model = AttentiveClassifier("test_resnet", 3, "spatial", 64)
    coarse, fine = torch.full((1, 1, 2, 2), 0.5), torch.full((1, 1, 4, 4), 1.5)
    first, second = model.gated.values()
    first.spatial.last, second.spatial.last = fine, coarse
    torch.testing.assert_close(model.gates().spatial, torch.full((1, 1, 4, 4), 0.75))


def test_no_gates_no_maps():
    model = AttentiveClassifier("test_resnet", 3, "none", 64)
    model(images())
    assert model.gates() == (None, None)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_head_turns_features_into_logits(backbone):
    model = AttentiveClassifier(backbone, 3, "both", 64).eval()
    torch.testing.assert_close(model.head(model.features(images())), model(images()))


@pytest.mark.parametrize(
    ("backbone", "name", "side"),
    [("test_resnet", "layer4", 2), ("test_efficientnet", "bn2", 2), ("test_vit", None, 4)],
)
def test_target_layer_is_the_last_feature_map_and_has_gradients(backbone, name, side):
    model = AttentiveClassifier(backbone, 3, "both", 64).eval()
    target = model.target_layer
    kept = {}
    target.module.register_forward_hook(lambda _m, _i, out: kept.update(map=out))
    logits = model(images())
    gradient = torch.autograd.grad(logits[:, 0].sum(), kept["map"])[0]
    assert target.layout.to_map(gradient).shape[2:] == (side, side)
    assert target.layout.to_map(gradient).abs().sum() > 0
    assert name in (None, target.name)


@pytest.mark.parametrize(
    "backbone", ["mobilenetv3_small_050", "lcnet_050", "efficientvit_b0", "mobilenetv2_035"]
)
def test_with_lesion_attention_maps_are_of_layers_that_images_pass(backbone):
    """Its stages are then asked for one by one; some networks are never called as a whole."""
    model = AttentiveClassifier(backbone, 3, "both", 64, lesion_attention=True).eval()
    targets = torch.tensor([0, 1])
    seen = evidence_of(model, layer_of(model.target_layer), images(), targets)
    assert seen.features.shape[2] * seen.features.shape[3] > 1
    assert model.gates().spatial is not None
    assert sum(model.blocks) == model.features(images()).shape[1]
    exact = model.evidence(images(), targets)
    assert (exact is None) == (backbone != "mobilenetv2_035")  # a layer behind the average


def test_captum_agrees_with_grad_cam_by_hand():
    model = AttentiveClassifier("test_resnet", 3, "both", 64).eval()
    kept = {}
    handle = model.target_layer.module.register_forward_hook(
        lambda _m, _i, out: kept.update(map=out)
    )
    logits = model(images())
    gradient = torch.autograd.grad(logits[:, 1].sum(), kept["map"])[0]
    by_hand = (gradient.mean((2, 3), keepdim=True) * kept["map"]).sum(1, keepdim=True)
    handle.remove()
    captum = LayerGradCam(model, model.target_layer.module).attribute(images(), target=1)
    torch.testing.assert_close(captum, by_hand)


def test_layouts_put_tokens_back_where_they_were():
    model = AttentiveClassifier("test_vit", 3, "both", 64)
    layout = model.target_layer.layout
    tokens = torch.randn(2, layout.prefix + 16, layout.channels)
    assert layout.to_map(tokens).shape == (2, layout.channels, 4, 4)
    assert torch.equal(layout.put_back(layout.to_map(tokens), tokens), tokens)


def test_a_copy_has_gates_of_its_own():
    model = AttentiveClassifier("test_resnet", 3, "both", 64).eval()
    before, twin = model(images()), copy.deepcopy(model)
    for gates in twin.gated.values():
        torch.nn.init.normal_(gates.spatial.conv.weight)
    assert torch.equal(model(images()), before)
    assert not torch.allclose(twin(images()), before)
    assert twin.target_layer.module is twin.backbone.get_submodule(twin.target_layer.name)


def test_nothing_works_in_place():
    for backbone in BACKBONES:
        model = AttentiveClassifier(backbone, 3, "both", 64)
        assert not [m for m in model.modules() if getattr(m, "inplace", False)]


def test_unknown_backbone_is_named_with_near_ones():
    with pytest.raises(SettingsError, match=r"got 'resnet1O'; near: resnet"):
        AttentiveClassifier("resnet1O", 3)


def test_a_hub_name_is_refused_rather_than_downloaded():
    with pytest.raises(SettingsError, match="timm model"):
        AttentiveClassifier("hf-hub:someone/something", 3)


def test_the_tensorflow_edgetpu_pads_alike_and_has_a_linear_first_block():
    torch.manual_seed(0)
    ours = AttentiveClassifier("tf_mobilenet_edgetpu_100", 3, image_size_px=64).eval()
    for norm in (m for m in ours.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.weight, 0.8, 1.2)
    plain = timm.create_model("mobilenet_edgetpu_100", pad_type="same", num_classes=3).eval()
    plain.load_state_dict(ours.backbone.state_dict())
    images = torch.rand(2, 1, 64, 64) * 2 - 1
    with torch.no_grad():
        logits, rgb = ours(images), images.expand(-1, 3, -1, -1)
        assert not torch.allclose(logits, plain(rgb), rtol=1e-2)
        plain.blocks[0][0].bn1.act = torch.nn.Identity()
        torch.testing.assert_close(logits, plain(rgb), rtol=1e-4, atol=1e-4)
