import pytest
import torch
from conftest import blobs, tiny

from sonobalance.errors import InputError
from sonobalance.gan.sampling import Sampler
from sonobalance.gan.train import train_gan
from sonobalance.state import load_state, save_state


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("gan")
    return train_gan(blobs(), tiny(), seed=0, folder=folder, device=torch.device("cpu"))


@pytest.fixture
def sampler(path, cpu):
    return Sampler.load(path, cpu)


def test_an_image_depends_on_its_own_index_only(sampler):
    targets = torch.tensor([0, 1, 1, 0, 1])
    all_five = sampler.sample(targets, seed=4)
    alone = sampler.sample(targets[[3]], seed=4, indices=torch.tensor([3]))
    assert torch.equal(all_five.pixels[3], alone.pixels[0])
    assert all_five.parents[3] == alone.parents[0]
    backwards = sampler.sample(targets.flip(0), seed=4, indices=torch.arange(5).flip(0))
    assert torch.equal(backwards.pixels.flip(0), all_five.pixels)
    assert not torch.equal(sampler.sample(targets, seed=5).pixels, all_five.pixels)


def test_samples_are_letterboxed_and_descend_from_their_class(sampler):
    samples = sampler.sample(torch.tensor([0, 1, 0]), seed=0)
    assert samples.pixels.dtype == torch.uint8
    assert samples.pixels.shape == (3, 1, 32, 32)
    assert (samples.pixels[:, :, :4] == 0).all()
    assert (samples.pixels[:, :, -4:] == 0).all()
    for parents, target in zip(samples.parents, (0, 1, 0), strict=True):
        assert sum(parents.weights) == pytest.approx(1.0)
        assert all((int(name.split("-")[1]) >= 4) == bool(target) for name in parents.ids)


def test_log_ratios_are_those_of_the_discriminators(sampler):
    images = blobs()
    r1, r2 = sampler.log_ratios(images.pixels, images.targets)
    assert r1.shape == r2.shape == (8,)
    assert r1.dtype == torch.float32
    again, _ = sampler.log_ratios(images.pixels[[2]], images.targets[[2]])
    torch.testing.assert_close(again[0], r1[2], rtol=1e-4, atol=1e-5)
    from sonobalance.gan.framing import fill, find_frames

    network = sampler.snapshot.discriminators["D2"]
    logits = network(fill(images.pixels, find_frames(images.pixels)), images.targets)
    by_hand = (sampler.snapshot.settings.beta / torch.nn.functional.softplus(logits)).log().mean(1)
    torch.testing.assert_close(r2, by_hand, rtol=1e-4, atol=1e-5)


def test_nothing_asked_nothing_given(sampler):
    none = torch.zeros(0, dtype=torch.int64)
    assert sampler.sample(none, seed=0).pixels.shape == (0, 1, 32, 32)
    r1, r2 = sampler.log_ratios(torch.zeros(0, 1, 32, 32, dtype=torch.uint8), none)
    assert r1.shape == r2.shape == (0,)


def test_unknown_class_is_refused(sampler):
    with pytest.raises(InputError, match="bright, dark"):
        sampler.sample(torch.tensor([0, 2]), seed=0)


def test_a_file_that_is_no_snapshot_is_refused(path, cpu):
    with pytest.raises(InputError, match="snapshot"):
        Sampler.load(path.parent / "checkpoint.safetensors", cpu)


def test_a_snapshot_of_another_format_is_refused(path, tmp_path, cpu):
    old = tmp_path / "snapshot.safetensors"
    save_state(old, load_state(path) | {"format": 1})
    with pytest.raises(InputError, match="train it again"):
        Sampler.load(old, cpu)
