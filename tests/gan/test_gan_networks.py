import pytest
import torch

from sonobalance.config import GanSettings
from sonobalance.gan import losses
from sonobalance.gan.discriminators import make_discriminators
from sonobalance.gan.networks import Encoder, Generator, unit_rms


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_every_size_is_generated_encoded_and_judged(size):
    torch.manual_seed(0)
    targets = torch.tensor([0, 2])
    generator = Generator(size, 4, 8, 3).eval()
    images = generator(torch.randn(2, 8), targets, torch.randn(2, generator.noise_dim))
    assert images.shape == (2, 1, size, size)
    assert images.abs().max() <= 1
    assert Encoder(size, 4, 8)(images).shape == (2, 8)
    for objective, shapes in (
        ("d2gan", [(2, 1), (2, 16)]), ("real_class", [(2, 6), (2, 16)]), ("single", [(2, 1)]),
    ):  # fmt: skip
        settings = GanSettings(objective=objective, image_size_px=size, base_channels=4)
        networks = make_discriminators(settings, 3)
        assert [tuple(d(images, targets).shape) for d in networks.values()] == shapes


def test_class_and_latent_and_noise_all_change_the_image():
    torch.manual_seed(0)
    generator = Generator(32, 4, 8, 3).eval()
    latents, noise = torch.randn(1, 8), torch.randn(1, generator.noise_dim)
    base = generator(latents, torch.tensor([0]), noise)
    assert not torch.equal(base, generator(latents, torch.tensor([1]), noise))
    assert not torch.equal(base, generator(-latents, torch.tensor([0]), noise))
    assert not torch.equal(base, generator(latents, torch.tensor([0]), -noise))


def test_discriminators_start_at_a_density_ratio_near_one():
    torch.manual_seed(0)
    settings = GanSettings(base_channels=8, alpha=0.2, beta=0.1)
    networks = make_discriminators(settings, 3)
    images, targets = torch.rand(4, 1, 64, 64) * 2 - 1, torch.zeros(4, dtype=torch.int64)
    for name, ratio in (
        ("D1", lambda x: losses.d2gan_log_r1(x, 0.2)),
        ("D2", lambda x: losses.d2gan_log_r2(x, 0.1)),
    ):
        network = networks[name].eval()
        with torch.no_grad():
            network.head.score.weight.zero_()
            network.head.embedding.weight.zero_()
            assert ratio(network(images, targets)).abs().max() < 1e-5


@pytest.mark.parametrize("objective", ["d2gan", "single"])
def test_faded_out_class_makes_the_judgement_unconditional(objective):
    torch.manual_seed(0)
    settings = GanSettings(objective=objective, base_channels=4)
    for network in make_discriminators(settings, 3).values():
        network.eval()
        images = torch.rand(1, 1, 64, 64)
        first, second = torch.tensor([0]), torch.tensor([1])
        assert not torch.equal(network(images, first), network(images, second))
        network.fade(0.0)
        assert torch.equal(network(images, first), network(images, second))


def test_faded_out_class_leaves_the_class_discriminator_real_against_generated():
    torch.manual_seed(0)
    network = make_discriminators(GanSettings(objective="real_class", base_channels=4), 3)["C"]
    images, targets = torch.rand(2, 1, 64, 64), torch.tensor([0, 1])
    assert network(images, targets)[:, :3].std() > 0
    network.fade(0.0)
    real, generated = network(images, targets).chunk(2, 1)
    assert real.std(1).max() < 1e-6
    assert (real - generated).abs().min() > 1e-6


def test_the_two_discriminators_see_different_neighbourhoods():
    """One logit of D2 depends on a part of the image; the logit of D1 on all of it."""
    torch.manual_seed(0)
    networks = make_discriminators(GanSettings(base_channels=4), 3)
    seen = {}
    for name, network in networks.items():
        images = torch.rand(1, 1, 64, 64, requires_grad=True)
        logits = network.eval()(images, torch.tensor([0]))
        logits[0, logits.shape[1] // 2].backward()
        seen[name] = float((images.grad != 0).float().mean())
    assert seen["D1"] > 0.95
    assert 0.02 < seen["D2"] < 0.5


@pytest.mark.parametrize("dim", [1, 2])
def test_unit_rms_and_its_derivatives(dim):
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    by_hand = x / (x.square().mean(dim, keepdim=True) + 1e-8).sqrt()
    torch.testing.assert_close(unit_rms(x, dim), by_hand)
    assert torch.autograd.gradcheck(lambda y: unit_rms(y, dim), x)
    assert torch.autograd.gradgradcheck(lambda y: unit_rms(y, dim), x)
