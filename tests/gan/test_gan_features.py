import copy

import pytest
import timm
import torch
from conftest import blobs, tiny
from torch import nn

from sonobalance.errors import InputError, SettingsError
from sonobalance.gan.discriminators import make_discriminators
from sonobalance.gan.features import LOOK_SIDE, FrozenFeatures
from sonobalance.gan.sampling import Sampler
from sonobalance.gan.train import train_gan
from sonobalance.state import load_state, save_state


def tiny_eyes():
    torch.manual_seed(7)
    return FrozenFeatures("test_resnet", 32)


@pytest.fixture
def eyes():
    return tiny_eyes()


def test_maps_have_the_shapes_told_and_the_first_channel_decides(eyes):
    images = torch.rand(2, 2, 32, 32)
    maps = eyes(images)
    assert [(m.shape[1], m.shape[2]) for m in maps] == eyes.shapes
    sides = [side for _, side in eyes.shapes]
    assert sides == sorted(sides, reverse=True)
    images[:, 1] = 0
    for before, after in zip(maps, eyes(images), strict=True):
        assert torch.equal(before, after)
    assert eyes.pooled(images).shape[0] == 2


def test_small_images_are_enlarged_and_native_maps_are_not(eyes):
    images = torch.rand(2, 1, 32, 32)
    for large, native in zip(eyes(images), eyes.native(images), strict=True):
        assert large.shape[-1] == native.shape[-1] * LOOK_SIDE // 32
    large = torch.nn.functional.interpolate(images, size=(LOOK_SIDE,) * 2, mode="bilinear")
    for a, b in zip(eyes(images), eyes.native(large), strict=True):
        assert torch.equal(a, b)


def test_what_is_large_is_measured_as_large_as_it_is(eyes):
    images = torch.rand(2, 1, 2 * LOOK_SIDE, 2 * LOOK_SIDE)
    smooth = torch.nn.functional.interpolate(images, size=(LOOK_SIDE,) * 2, mode="bilinear")
    assert not torch.allclose(eyes.pooled(images), eyes.pooled(smooth), atol=1e-3)


@pytest.mark.parametrize("side", [32, 2 * LOOK_SIDE])
def test_a_transformer_may_look(side):
    eyes = FrozenFeatures("vit_tiny_patch16_224", side)
    images = torch.rand(2, 1, side, side)
    assert [(m.shape[1], m.shape[2]) for m in eyes(images)] == eyes.shapes
    assert eyes.pooled(images).isfinite().all()


def test_a_backbone_of_one_size_is_refused_in_a_sentence():
    with pytest.raises(SettingsError, match="images of 64 px, and of 128, but efficientformerv2"):
        FrozenFeatures("efficientformerv2_s0", 64)


def test_batch_norms_are_folded_and_the_maps_stay():
    torch.manual_seed(3)
    model = timm.create_model("mobilenetv2_035", num_classes=0)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.5, 2)
    plain = copy.deepcopy(model).eval()
    eyes = FrozenFeatures("mobilenetv2_035", 32, model)
    assert not [m for m in eyes.modules() if isinstance(m, nn.BatchNorm2d)]
    rgb = eyes._rgb(torch.rand(2, 1, 64, 64) * 2 - 1)
    with torch.no_grad():
        for got, wanted in zip(eyes._maps(eyes.model, rgb), eyes._maps(plain, rgb), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["mobilenetv2_035", "repvit_m0_9"])
def test_features_are_restored_whether_their_norms_could_be_folded_or_not(name):
    """In repvit, norms do not follow their convolutions; with fresh statistics nobody can tell."""
    torch.manual_seed(3)
    model = timm.create_model(name, num_classes=0)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.3)
        norm.running_var.uniform_(0.5, 2)
        norm.weight.data.uniform_(0.5, 2)
    eyes = FrozenFeatures(name, 32, model.eval())
    again = FrozenFeatures.restored(name, 32, eyes.state_dict())
    images = torch.rand(1, 1, 32, 32)
    for got, wanted in zip(again(images), eyes(images), strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("objective", ["d2gan", "real_class", "single"])
def test_a_discriminator_sees_the_features_and_its_mixers_never_learn(eyes, objective):
    networks = make_discriminators(tiny(objective=objective), 2, eyes)
    with_branch = [n for n in networks.values() if n.branch is not None]
    assert with_branch
    network, images, targets = with_branch[0], torch.rand(2, 1, 32, 32), torch.tensor([0, 1])
    plain, full = network(images, targets), network(images, targets, eyes(images))
    assert full.shape[1] == plain.shape[1] + sum(min(4, side) ** 2 for _, side in eyes.shapes)
    network.learn(True)
    fixed = {id(p) for p in network.branch.mixers.parameters()}
    assert not fixed & {id(p) for p in network.learnable()}
    assert all(not p.requires_grad for p in network.branch.mixers.parameters())


def test_features_stay_frozen_and_resume_is_exact(tmp_path, images, cpu):
    settings = tiny(perceptual_weight=0.5)
    before = {k: v.clone() for k, v in tiny_eyes().state_dict().items()}
    kwargs = {"seed": 0, "device": cpu}
    eyes = tiny_eyes()
    train_gan(images, settings, folder=tmp_path / "once", eyes=eyes, **kwargs)
    assert all(torch.equal(v, before[k]) for k, v in eyes.state_dict().items())
    for total in (0.008, 0.016):
        train_gan(images, settings, folder=tmp_path / "twice", eyes=tiny_eyes(),
                  total_kimg=total, **kwargs)  # fmt: skip
    once, twice = (load_state(tmp_path / n / "checkpoint.safetensors") for n in ("once", "twice"))
    for name, value in once["discriminators"]["D2"].items():
        assert torch.equal(value, twice["discriminators"]["D2"][name]), name


def test_a_snapshot_carries_its_features(tmp_path, cpu):
    images = blobs()
    path = train_gan(images, tiny(), seed=0, folder=tmp_path, device=cpu, eyes=tiny_eyes())
    sampler = Sampler.load(path, cpu)
    _, found = sampler.log_ratios(images.pixels, images.targets)
    blind = Sampler(sampler.snapshot.__class__(**{**sampler.snapshot.__dict__, "eyes": None}), cpu)
    _, without = blind.log_ratios(images.pixels, images.targets)
    assert found.isfinite().all()
    assert not torch.allclose(found, without)


@pytest.mark.parametrize("harm", ["bank", "settings", "generator"])
def test_a_snapshot_that_is_not_whole_is_refused_in_a_sentence(tmp_path, cpu, harm):
    path = train_gan(blobs(), tiny(), seed=0, folder=tmp_path, device=cpu, eyes=tiny_eyes())
    tree = load_state(path)
    if harm == "bank":
        del tree["bank"]
    else:
        tree[harm] = tree[harm] | {"latent_dim": 7} if harm == "settings" else {}
    save_state(path, tree)
    with pytest.raises(InputError, match=r"whole GAN snapshot of this version.*train it again"):
        Sampler.load(path, cpu)
