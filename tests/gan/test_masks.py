from dataclasses import replace

import pytest
import torch
from conftest import blobs, tiny

from sonobalance.data.loading import Outlines
from sonobalance.errors import InputError, StaleError
from sonobalance.gan.augment import DRAWS, augment
from sonobalance.gan.framing import with_masks
from sonobalance.gan.sampling import Sampler
from sonobalance.gan.train import train_gan


def outlined(known=True):
    """Blobs with the square around the middle as mask."""
    images = blobs()
    masks = torch.zeros_like(images.pixels)
    masks[:, :, 10:22, 10:22] = 255
    return replace(images, outlines=Outlines(masks, torch.full((len(images),), known)))


def test_images_and_masks_are_made_together_and_resume_is_exact(tmp_path, cpu):
    settings = tiny(synthesize_masks=True)
    for total in (0.008, 0.016):
        path = train_gan(
            outlined(), settings, seed=0, folder=tmp_path / "a", device=cpu, total_kimg=total
        )
    again = train_gan(outlined(), settings, seed=0, folder=tmp_path / "b", device=cpu)
    assert path.read_bytes() == again.read_bytes()
    sampler = Sampler.load(path, cpu)
    samples = sampler.sample(torch.tensor([0, 1, 1]), seed=0)
    assert samples.pixels.shape == samples.masks.shape == (3, 1, 32, 32)
    assert set(samples.masks.unique().tolist()) <= {0, 255}
    first, second = sampler.log_ratios(samples.pixels, torch.tensor([0, 1, 1]))
    assert first.isfinite().all()
    assert second.isfinite().all()


def test_a_generator_of_other_masks_is_not_taken_for_this_one(tmp_path, cpu):
    settings, images = tiny(synthesize_masks=True), outlined()
    train_gan(images, settings, seed=0, folder=tmp_path, device=cpu, total_kimg=0.008)
    turned = Outlines(255 - images.outlines.masks, images.outlines.known)
    other = replace(images, outlines=turned)
    with pytest.raises(StaleError, match="made from others"):
        train_gan(other, settings, seed=0, folder=tmp_path, device=cpu, total_kimg=0.008)


def test_masks_move_with_the_image_but_have_no_tone():
    images = torch.rand(4, 1, 32, 32) * 2 - 1
    pair = torch.cat([images, images], 1)
    draws = torch.rand(4, DRAWS)
    draws[:, :2], draws[:, 2:4] = 0.0, 0.99  # brightness and contrast alone
    found = augment(pair, 0.5, draws)
    assert not torch.allclose(found[:, 0], pair[:, 0])
    assert torch.equal(found[:, 1], pair[:, 1])
    draws[:, :2], draws[:, 2:4] = 0.99, 0.0  # translation and cut-out
    found = augment(pair, 0.5, draws)
    torch.testing.assert_close(found[:, 0], found[:, 1])
    assert not torch.equal(found, pair)


def test_images_without_mask_files_are_refused():
    with pytest.raises(InputError, match="8 of 8"):
        with_masks(outlined(known=False), True)
