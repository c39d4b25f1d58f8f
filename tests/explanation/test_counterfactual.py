"""The generator moved along its class axis: ends and middle, and where it starts."""

import numpy as np
import pytest
import torch

from sonobalance.config import GanSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.explanation.counterfactual import SHARES, _nearest_row, _side_by_side, walk
from sonobalance.explanation.examples import Known, Likeness
from sonobalance.gan.framing import find_frames
from sonobalance.gan.latents import LatentBank
from sonobalance.gan.networks import unit_rms
from sonobalance.gan.snapshot import Snapshot, make_encoder, make_generator


@pytest.fixture
def snapshot():
    torch.manual_seed(0)
    settings = GanSettings(image_size_px=32, base_channels=8, latent_dim=16)
    generator = make_generator(settings, 2).eval()
    frames = find_frames(torch.full((3, 1, 32, 32), 9, dtype=torch.uint8))
    bank = LatentBank(unit_rms(torch.randn(3, 2, 16), 2), torch.tensor([0, 1, 0]), frames)
    return Snapshot(
        settings, ("benign", "malignant"), ("a", "b", "c"), "", 0.0, generator, {}, bank,
        make_encoder(settings),
    )  # fmt: skip


def test_the_walk_goes_from_one_class_to_the_other(snapshot):
    pixels = walk(snapshot, 1, 0)
    assert pixels.shape == (len(SHARES), 1, 32, 32)
    generator, noise = snapshot.generator, torch.zeros(1, snapshot.generator.noise_dim)
    latent = snapshot.bank.latents[1, :1]
    for place, target in ((0, 1), (-1, 0)):
        with torch.no_grad():
            expected = (generator(latent, torch.tensor([target]), noise) + 1) * 127.5
        assert (pixels[place].float() - expected[0]).abs().max() <= 1
    steps = pixels.float().diff(dim=0).abs().mean((1, 2, 3))
    assert (steps > 0).any()


def test_it_starts_at_the_nearest_image_that_the_generator_knows(snapshot):
    ids = ("x", "c", "b")
    known = Known(LabelledImages(torch.zeros(3, 1, 4, 4), torch.zeros(3).long(), ids, ("q", "r")))
    found = Likeness(known, np.array([[0.9, 0.5, 0.7], [0.1, 0.2, 0.1]], np.float32), None)
    assert _nearest_row(found, 0, snapshot) == 1  # "x" is unknown to it, "b" comes next
    assert _nearest_row(found, 1, snapshot) == 2
    assert _side_by_side(torch.zeros(5, 1, 8, 8, dtype=torch.uint8)).shape == (8, 48)
