"""Strided depthwise convolutions learn in float32 on the CPU and are the same layers otherwise."""

from __future__ import annotations

import torch
from torch import nn

from sonobalance.precision import Depthwise, arithmetic, speed_up

CPU = torch.device("cpu")


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, stride=2, groups=8), nn.Conv2d(8, 8, 3, groups=8)
    )


def test_only_strided_depthwise_layers_change_and_their_parameters_stay() -> None:
    network, fast = _network(), _network()
    speed_up(fast)
    assert [type(m) for m in fast] == [nn.Conv2d, Depthwise, nn.Conv2d]
    images = torch.rand(2, 3, 16, 16)
    assert network.state_dict().keys() == fast.state_dict().keys()
    assert torch.equal(network(images), fast(images))


def test_gradients_of_half_precision_are_those_of_the_layer() -> None:
    network, fast = _network(), _network()
    speed_up(fast)
    gradients = []
    for one in (network, fast):
        images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
        images.requires_grad_(True)
        with arithmetic("bfloat16", CPU):
            found = one(images)
        assert found.dtype == torch.bfloat16
        found.float().square().sum().backward()
        gradients.append([images.grad, *(p.grad for p in one.parameters())])
    for wanted, got in zip(*gradients, strict=True):
        assert (wanted - got).abs().max() <= 0.03 * wanted.abs().max()


def test_nothing_is_recomputed_in_float32_where_no_gradient_is_wanted() -> None:
    layer = nn.Conv2d(4, 4, 3, stride=2, groups=4)
    images = torch.rand(1, 4, 9, 9)
    with arithmetic("bfloat16", CPU), torch.no_grad():
        wanted = layer(images)
        speed_up(layer)
        assert torch.equal(layer(images), wanted)
