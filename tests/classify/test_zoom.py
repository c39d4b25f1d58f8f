"""The second look: what it sees, that evidence still adds up, and that maps show the whole."""

from itertools import pairwise

import pytest
import torch
from torch.nn.functional import interpolate

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.zoom import FAINT, Part, lesion_centres, middles
from sonobalance.config import ZoomOn
from sonobalance.explanation.cam import evidence_of, explaining
from sonobalance.explanation.layers import layer_of

SIDE = 64


def network(zoom: float, zoom_on: ZoomOn = "middle") -> AttentiveClassifier:
    torch.manual_seed(0)
    model = AttentiveClassifier(
        "mobilenetv2_035",
        3,
        image_size_px=SIDE,
        lesion_attention=True,
        partners=["mobilenetv2_035"],
        zoom=zoom,
        zoom_on=zoom_on,
    )
    return model.eval()


def middle(images: torch.Tensor, zoom: float) -> Part:
    return Part.around(middles(images), zoom, SIDE)


def test_the_middle_is_the_middle():
    image = torch.zeros(1, 1, SIDE, SIDE)
    image[..., 8:56, 8:56] = 1
    torch.testing.assert_close(middle(image, SIDE / 48).enlarged(image), torch.ones_like(image))
    assert (middle(image, 1.0).enlarged(image) == image).all()


@pytest.mark.parametrize("zoom", [1.0, 1.2, 4 / 3, 2.0])
@pytest.mark.parametrize("cells", [7, 8])
def test_evidence_is_laid_back_where_it_was_found_and_keeps_its_sum(zoom, cells):
    found = torch.randn(2, 1, cells, cells, generator=torch.manual_seed(1))
    back = middle(found, zoom).laid_back(found)
    torch.testing.assert_close(back.sum((1, 2, 3)), found.sum((1, 2, 3)))
    margin = round(SIDE * (1 - 1 / zoom) / 2) / SIDE * cells  # in cells
    outside = int(margin)
    assert not outside or (back[..., :outside, :] == 0).all()
    if zoom == 1:
        torch.testing.assert_close(back, found)


def test_a_point_in_the_middle_stays_there():
    found = torch.zeros(1, 1, 8, 8)
    found[..., 6, 2] = 1
    back = middle(found, 2.0).laid_back(found)[0, 0]
    assert back[5, 3] == pytest.approx(1)  # the middle half is cells 2 to 6


def test_a_part_stays_within_the_image_and_its_evidence_lies_where_it_is():
    images = torch.arange(SIDE * SIDE).float().reshape(1, 1, SIDE, SIDE).repeat(2, 1, 1, 1)
    part = Part.around(torch.tensor([[0.25, 0.75], [0.0, 0.59375]]), 2.0, SIDE)
    assert part.corner.tolist() == [[0, 32], [0, 22]]
    whole = interpolate(images[:1, :, :32, 32:], size=(SIDE, SIDE), mode="bilinear")
    torch.testing.assert_close(part.enlarged(images)[:1], whole)
    back = part.laid_back(torch.ones(2, 1, 8, 8))
    assert back[0, 0, :4, 4:].eq(4).all()
    assert back[0].sum() == 64
    torch.testing.assert_close(back[1, 0, 0, 2:7], torch.tensor([1.0, 4, 4, 4, 3]))


def test_the_centre_of_a_lesion_is_that_of_its_outline_and_without_one_the_middle():
    outline = torch.full((2, 1, 10, 10), -0.5)  # what is less lesion than not does not pull
    outline[0, 0, 1:3, 7:9] = 30
    found = lesion_centres(outline)
    weight = 4 / (4 + FAINT * 100)
    assert weight > 0.95
    expected = [weight * at + (1 - weight) * 0.5 for at in (0.2, 0.8)]
    torch.testing.assert_close(found, torch.tensor([expected, [0.5, 0.5]]))


def test_a_little_more_of_a_centre_changes_the_look_a_little():
    images = torch.rand(1, 1, SIDE, SIDE)
    centres = torch.tensor([[0.4, 0.6]])
    found = [Part.around(centres + step, 1.5, SIDE).enlarged(images) for step in (0, 1e-3, 2e-3)]
    first, second = (float((b - a).abs().max()) for a, b in pairwise(found))
    assert 0 < first < 0.15
    assert second == pytest.approx(first, rel=0.2)


def test_the_second_look_follows_the_outline():
    plain, zoomed = network(1.0), network(1.5, "lesion")
    zoomed.load_state_dict(plain.state_dict())
    assert zoomed.lesion is not None
    for decoder in (plain.lesion, zoomed.lesion):
        decoder.outline = lambda levels: _spot(len(levels[0]))  # type: ignore[union-attr]
    images = torch.rand(2, 1, SIDE, SIDE) * 2 - 1
    cut = round(SIDE / 1.5 / 2) * 2
    near = interpolate(images[..., -cut:, :cut], size=(SIDE, SIDE), mode="bilinear")
    with torch.no_grad():
        found = zoomed(images)
        torch.testing.assert_close(found, (plain(images) + plain(near)) / 2)


def _spot(count: int) -> torch.Tensor:
    outline = torch.full((count, 1, 8, 8), -30.0)
    outline[:, :, 5:, :3] = 30
    return outline


def test_logits_are_the_mean_of_both_looks():
    plain, zoomed = network(1.0), network(1.25)
    zoomed.load_state_dict(plain.state_dict())
    images = torch.rand(2, 1, SIDE, SIDE) * 2 - 1
    cut = round(SIDE * 0.1)
    near = interpolate(images[..., cut:-cut, cut:-cut], size=(SIDE, SIDE), mode="bilinear")
    with torch.no_grad():
        expected = (plain(images) + plain(near)) / 2
        torch.testing.assert_close(zoomed(images), expected)
        logits, features = zoomed.logits_and_features(images)
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(features, plain.features(images))


@pytest.mark.parametrize("zoom_on", ["middle", "lesion"])
def test_evidence_of_both_looks_and_the_biases_make_the_logit(zoom_on):
    model = network(1.2, zoom_on)
    images, targets = torch.rand(3, 1, SIDE, SIDE) * 2 - 1, torch.tensor([0, 1, 2])
    with torch.no_grad():
        found = model.evidence(images, targets).sum((1, 2, 3))
        logits = model(images)[range(3), targets]
        members = [model, *model.partners]
        bias = sum(m.head.bias[targets] for m in members) / len(members)
    torch.testing.assert_close(found + bias, logits, atol=1e-4, rtol=1e-4)


def test_class_activation_maps_are_of_the_whole_image():
    plain, zoomed = network(1.0), network(1.2)
    zoomed.load_state_dict(plain.state_dict())
    images, targets = torch.rand(2, 1, SIDE, SIDE) * 2 - 1, torch.tensor([0, 1])
    found = []
    for model in (plain, zoomed):
        with explaining(model):
            found.append(evidence_of(model, layer_of(model.target_layer), images, targets))
    torch.testing.assert_close(found[0].features, found[1].features)
    torch.testing.assert_close(found[0].gradients, found[1].gradients * 2)
