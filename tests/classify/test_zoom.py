"""The second look: what it sees, that evidence still adds up, and that maps show the whole."""

import pytest
import torch
from torch.nn.functional import interpolate

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.zoom import laid_back, middle
from sonobalance.explanation.cam import evidence_of, explaining
from sonobalance.explanation.layers import layer_of

SIDE = 64


def network(zoom: float) -> AttentiveClassifier:
    torch.manual_seed(0)
    model = AttentiveClassifier(
        "mobilenetv2_035",
        3,
        image_size_px=SIDE,
        lesion_attention=True,
        partners=["mobilenetv2_035"],
        zoom=zoom,
    )
    return model.eval()


def test_the_middle_is_the_middle():
    image = torch.zeros(1, 1, SIDE, SIDE)
    image[..., 8:56, 8:56] = 1
    assert (middle(image, SIDE / 48) == 1).all()
    assert (middle(image, 1.0) == image).all()


@pytest.mark.parametrize("zoom", [1.0, 1.2, 4 / 3, 2.0])
@pytest.mark.parametrize("cells", [7, 8])
def test_evidence_is_laid_back_where_it_was_found_and_keeps_its_sum(zoom, cells):
    found = torch.randn(2, 1, cells, cells, generator=torch.manual_seed(1))
    back = laid_back(found, zoom, SIDE)
    torch.testing.assert_close(back.sum((1, 2, 3)), found.sum((1, 2, 3)))
    margin = round(SIDE * (1 - 1 / zoom) / 2) / SIDE * cells  # in cells
    outside = int(margin)
    assert not outside or (back[..., :outside, :] == 0).all()
    if zoom == 1:
        torch.testing.assert_close(back, found)


def test_a_point_in_the_middle_stays_there():
    found = torch.zeros(1, 1, 8, 8)
    found[..., 6, 2] = 1
    back = laid_back(found, 2.0, SIDE)[0, 0]
    assert back[5, 3] == pytest.approx(1)  # the middle half is cells 2 to 6


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


def test_evidence_of_both_looks_and_the_biases_make_the_logit():
    model = network(1.2)
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
