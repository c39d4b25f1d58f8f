"""Who learns, and how fast."""

import copy
import math

import pytest
import torch

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.schedule import (
    cosine_factor,
    follow,
    layer_depths,
    parameter_groups,
    set_rates,
    training_mode,
)
from sonobalance.config import ClassifierSettings


def settings(**changes):
    return ClassifierSettings(backbone="test_resnet", image_size_px=32, **changes)


@pytest.fixture
def model():
    return AttentiveClassifier("test_resnet", 3, "both", 32)


def test_cosine_with_warmup():
    rates = [cosine_factor(step, 110, 10 / 110) for step in range(110)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1
    assert rates[60] == pytest.approx(0.5)
    assert rates[35] == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    assert 0 < rates[-1] < 0.001


def test_depth_grows_from_image_to_head(model):
    depth = layer_depths(model)
    assert depth["backbone.conv1.0.weight"] == 0
    assert depth["backbone.layer1.0.conv1.weight"] < depth["backbone.layer4.0.conv1.weight"]
    assert depth["backbone.fc.weight"] is None
    assert all(depth[name] is None for name in depth if name.startswith("attention."))


def test_rates_fall_towards_the_image_and_the_first_layers_stay(model):
    groups = parameter_groups(
        model, settings(frozen_share=0.4, layer_decay=0.5, backbone_lr=0.1, head_lr=0.3),
        pretrained=True,
    )  # fmt: skip
    rate = {id(p): group["peak_lr"] for group in groups for p in group["params"]}
    by_name = {name: rate.get(id(p)) for name, p in model.named_parameters()}
    assert by_name["attention.0.spatial.conv.weight"] == 0.3
    assert by_name["backbone.fc.weight"] == 0  # fitted, and fixed
    top, below = (
        by_name["backbone.layer4.0.conv1.weight"],
        by_name["backbone.layer3.0.conv1.weight"],
    )
    assert below == top / 2
    assert by_name["backbone.conv1.0.weight"] is None
    frozen = [p for name, p in model.named_parameters() if by_name[name] is None]
    assert frozen
    assert not any(p.requires_grad for p in frozen)


def test_from_scratch_everything_learns(model):
    groups = parameter_groups(model, settings(frozen_share=0.9), pretrained=False)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_vectors_are_not_decayed(model):
    for group in parameter_groups(model, settings(), pretrained=False):
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])


def test_head_only_stills_the_backbone(model):
    optimizer = torch.optim.AdamW(parameter_groups(model, settings(), pretrained=True))
    before = copy.deepcopy(model)
    training_mode(model, frozen_statistics=True, learning=("outline", "head"))
    set_rates(optimizer, 1.0, learning=("outline", "head"))
    model(torch.randn(4, 1, 32, 32)).sum().backward()
    optimizer.step()
    depth = layer_depths(model)
    state = before.state_dict()
    for name, value in model.named_parameters():
        moved = not torch.equal(value, state[name])
        assert moved == (name in {"backbone.fc.weight", "backbone.fc.bias"}) or depth[name] is None
    for name, value in model.named_buffers():
        assert torch.equal(value, state[name])


def test_batch_statistics_move_only_when_they_may(model):
    before = model.backbone.bn1.running_mean.clone()
    training_mode(model, frozen_statistics=True)
    model(torch.randn(4, 1, 32, 32))
    assert torch.equal(model.backbone.bn1.running_mean, before)
    training_mode(model, frozen_statistics=False)
    model(torch.randn(4, 1, 32, 32))
    assert not torch.equal(model.backbone.bn1.running_mean, before)


def test_average_follows_at_its_decay():
    average, model = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    average.weight.data.fill_(0.0)
    model.weight.data.fill_(1.0)
    for n in range(1, 6):
        follow(average, model, 0.8)
        assert average.weight.item() == pytest.approx(1 - 0.8**n)
