"""Deletion and insertion on a network whose one source of evidence is known."""

import numpy as np
import pytest
import torch
from toy_networks import blob_images

from sonobalance.data.images import letterbox_of
from sonobalance.evaluation.intervals import Interval
from sonobalance.explanation.baselines import FILLINGS, blurred, filling
from sonobalance.explanation.dependence import sensitivity
from sonobalance.explanation.faithfulness import Curves, area, curves_of, gain, pixel_order
from sonobalance.explanation.inputs import inside_of

SIDE = 32
BOXES = [letterbox_of(SIDE, SIDE, SIDE)] * 4
TARGETS = torch.zeros(4, dtype=torch.int64)


@pytest.fixture(scope="module")
def images():
    return blob_images(4, SIDE)


class Bright(torch.nn.Module):
    """Class 0 for pixels above a half: blurring a square away takes its evidence away."""

    def forward(self, images):
        bright = (images - 0.5).relu().mean((1, 2, 3))
        return torch.stack([100 * bright - 1, torch.zeros_like(bright)], dim=1)


def curves(maps, images, stand_in, steps=8):
    model, images = Bright(), (images + 1) / 2
    fill = filling(stand_in, images, BOXES, 0)
    order = pixel_order(maps, inside_of(BOXES), torch.zeros_like(maps))
    return curves_of(model, TARGETS, order, fill=fill, steps=steps, batch_size=3)


@pytest.mark.parametrize("stand_in", FILLINGS)
def test_the_true_map_beats_a_random_and_an_inverted_one(images, stand_in):
    pixels, masks = images
    true = masks[:, None].float()
    noise = torch.rand(true.shape, generator=torch.Generator().manual_seed(0))
    random, own, inverted = (curves(m, pixels, stand_in) for m in (noise, true, -true))
    for kind, value in gain(own, random).items():
        assert (value > 0).all(), kind
    for kind, value in gain(inverted, random).items():
        assert (value < 0).all(), kind
    assert all((value == 0).all() for value in gain(random, random).values())


def test_curves_run_from_the_image_to_the_baseline(images):
    pixels, masks = images
    found = curves(masks[:, None].float(), pixels, "blur")
    model = Bright()
    x = (pixels + 1) / 2
    whole = model(x).softmax(1)[:, 0].numpy()
    gone = model(blurred(x, inside_of(BOXES))).softmax(1)[:, 0].numpy()
    assert found.deletion.shape == found.insertion.shape == (4, 9)
    assert np.allclose(found.deletion[:, 0], whole, atol=1e-6)
    assert np.allclose(found.insertion[:, -1], whole, atol=1e-6)
    assert np.allclose(found.deletion[:, -1], gone, atol=1e-6)
    assert np.allclose(found.insertion[:, 0], gone, atol=1e-6)


def test_a_step_takes_away_the_highest_pixels(images):
    """After one of 16 steps exactly the square, a sixteenth of the image, is blurred."""
    pixels, masks = images
    found = curves(masks[:, None].float(), pixels, "blur", steps=16)
    x = (pixels + 1) / 2
    model = Bright()
    expected = model(torch.where(masks[:, None], blurred(x, inside_of(BOXES)), x)).softmax(1)[:, 0]
    assert np.allclose(found.deletion[:, 1], expected.numpy(), atol=1e-6)


def test_padding_comes_last():
    box = letterbox_of(10, 20, 20)  # rows 5 to 14 hold the image
    map_ = torch.zeros(1, 1, 20, 20)
    map_[..., 0, 0] = 9.0  # padding may not be first
    map_[..., 7, 3] = 1.0
    order = pixel_order(map_, inside_of([box]), torch.zeros_like(map_))[0, 0]
    assert order[7, 3] == 0
    inside = order[5:15]
    assert inside.max() < 1
    assert (torch.cat([order[:5], order[15:]]) >= 1).all()
    assert len(inside.unique()) == 200


def test_equal_pixels_take_their_turns_in_the_order_of_the_other_map():
    map_ = torch.tensor([[[[0.0, 5.0], [0.0, 0.0]]]])
    ties = torch.tensor([[[[1.0, 0.0], [3.0, 2.0]]]])
    order = pixel_order(map_, torch.ones(1, 1, 2, 2, dtype=torch.bool), ties)
    assert order.flatten().tolist() == [0.75, 0, 0.25, 0.5]


def test_area_by_hand():
    curve = np.array([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0]])
    assert area(curve).tolist() == [0.5, 1.0]
    flat, steep = np.ones((1, 3)), np.array([[1.0, 0.0, 0.0]])
    found = gain(Curves(steep, flat), Curves(flat, steep))
    assert found["deletion"] == pytest.approx(0.75)
    assert found["insertion"] == pytest.approx(0.75)


def test_nothing_is_filled_outside_of_the_images_box():
    box = letterbox_of(16, 32, SIDE)
    images = torch.rand(1, 1, SIDE, SIDE)
    gone = torch.zeros(1, 1, SIDE, SIDE, dtype=torch.bool)
    gone[0, 0][box.inner] = True
    for name in FILLINGS:
        filled = filling(name, images, [box], 0)(gone)
        assert torch.equal(filled[~gone], images[~gone]), name
        assert filled[gone].std() < images[gone].std(), name


def test_sensitivity_says_when_the_stand_in_decides():
    gains = {
        f"{kind}_{name}": np.array([0.1, 0.2, 0.3]) * (-1 if name == "blur" else 1)
        for kind in ("deletion", "insertion")
        for name in FILLINGS
    }
    means = {key: Interval(g.mean(), g.mean() - 0.05, g.mean() + 0.05) for key, g in gains.items()}
    found = sensitivity(gains, means)["deletion"]
    assert found["verdict"] == "depends on the stand-in"
    assert (found["lowest"], found["highest"]) == pytest.approx((-0.2, 0.2))
    assert found["agreement"] == pytest.approx(-1 / 3)  # two pairs disagree, one agrees
    same = dict.fromkeys(means, means["deletion_road"])
    assert sensitivity(gains, same)["insertion"]["verdict"] == "faithful"
