"""Weight randomisation: what changes, what comes back, and which maps fail."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from toy_networks import Toy, blob_images, convolutional

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.explanation.inputs import Inputs
from sonobalance.explanation.layers import Layer
from sonobalance.explanation.maps import Cost
from sonobalance.explanation.sanity import (
    STAGES,
    cascade,
    rank_correlation,
    redraw,
    restored,
    weight_names,
)


def test_weights_come_back_even_after_an_error():
    model = convolutional()
    before = {name: p.clone() for name, p in model.named_parameters()}

    def shake_and_fail():
        with restored(model):
            redraw(model, weight_names(model), seed=0)
            assert not torch.equal(model[0].weight, before["0.weight"])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        shake_and_fail()
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])


def test_the_head_is_redrawn_first_and_signals_keep_their_size():
    model = convolutional()
    assert weight_names(model) == ["9.weight", "5.weight", "3.weight", "0.weight"]
    before = model[5].weight.detach().clone()
    redraw(model, ["5.weight"], seed=0)
    after = model[5].weight.detach()
    assert float(after.std()) == pytest.approx(float(before.std()), rel=0.1)
    assert abs(np.corrcoef(before.flatten(), after.flatten())[0, 1]) < 0.2


def test_same_seed_same_weights():
    one, two = convolutional(), convolutional()
    redraw(one, ["9.weight"], seed=3)
    redraw(two, ["9.weight"], seed=3)
    assert torch.equal(one[9].weight, two[9].weight)


def test_a_map_that_cannot_change_its_shape_is_unfit():
    """One channel: whatever the weights, every map is the image times a number."""
    model, (images, _) = Toy([1.0], [[1.0], [2.0]]), blob_images(3, 28)
    inputs = Inputs.of_squares(images, torch.tensor([0, 1, 0]))
    found = cascade(model, model.layer, inputs, seed=0, cost=Cost())["grad-cam"]
    assert found["fit"] is False
    assert found["stages"][-1]["absolute"] == pytest.approx(1, abs=1e-3)
    assert "unfit" in found["sentence"]


def test_a_map_of_learned_features_is_fit():
    model = convolutional()
    images, _ = blob_images(6, 28)
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    inputs = Inputs.of_squares(noise, torch.arange(6) % 3)
    found = cascade(model, Layer("x", model[6]), inputs, seed=0, cost=Cost())["hirescam"]
    assert found["fit"] is True
    assert found["stages"][-1]["share"] == 1
    assert 1 < len(found["stages"]) <= STAGES
    assert 0 <= found["chance"] < 0.5


def test_rank_correlation_equals_scipy():
    one, other = torch.randn(2, 2, 1, 14, 14, generator=torch.Generator().manual_seed(0))
    rho = [spearmanr(a.flatten(), b.flatten()).statistic for a, b in zip(one, other, strict=True)]
    found = rank_correlation(one, other)
    assert found["rank_correlation"] == pytest.approx(np.mean(rho))
    assert found["absolute"] == pytest.approx(np.abs(rho).mean())
    assert rank_correlation(one, -one) == pytest.approx({"rank_correlation": -1, "absolute": 1})
    assert rank_correlation(one, torch.zeros_like(one))["absolute"] == 0


def test_members_forget_side_by_side():
    model = AttentiveClassifier("test_resnet", 3, image_size_px=32, partners=["test_efficientnet"])
    names = weight_names(model)
    theirs = [name.startswith("partners.") for name in names]
    assert {names[0], names[1]} == {"backbone.fc.weight", "partners.0.backbone.classifier.weight"}
    half = len(names) // 2
    assert sum(theirs[:half]) / half == pytest.approx(sum(theirs) / len(theirs), abs=0.05)
