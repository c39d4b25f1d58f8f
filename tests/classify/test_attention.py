"""Gates against timm's own CBAM, and the identity they start from."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers.cbam import ChannelAttn, SpatialAttn

from sonobalance.classify.attention import ChannelGate, Gates, SpatialGate


@pytest.mark.parametrize("attention", ["none", "channel", "spatial", "both"])
def test_fresh_gates_change_no_bit(attention):
    x = torch.randn(3, 16, 5, 7)
    assert torch.equal(Gates(16, attention)(x), x)


def test_channel_gate_is_twice_the_gate_of_timm():
    x, gate = torch.randn(2, 32, 6, 6), ChannelGate(32, reduction=4)
    other = ChannelAttn(32, rd_channels=8)
    torch.nn.init.normal_(gate.expand.weight)
    torch.nn.init.zeros_(gate.reduce.bias)
    other.fc1.weight.data = gate.reduce.weight.data
    other.fc2.weight.data = gate.expand.weight.data
    torch.testing.assert_close(gate(x), 2 * other(x))


def test_spatial_gate_is_twice_the_gate_of_timm():
    x, gate, other = torch.randn(2, 8, 9, 9), SpatialGate(), SpatialAttn().eval()
    torch.nn.init.normal_(gate.conv.weight)
    other.conv.conv.weight.data = gate.conv.weight.data
    other.conv.bn = torch.nn.Identity()
    torch.testing.assert_close(gate(x), 2 * other(x))


def test_last_layers_learn_from_the_first_step_on():
    x, gates = torch.randn(2, 16, 5, 5), Gates(16, "both")
    gates(x).square().sum().backward()
    assert gates.channel.expand.weight.grad.abs().sum() > 0
    assert gates.spatial.conv.weight.grad.abs().sum() > 0


@given(scale=st.floats(0.1, 30))
def test_gates_stay_between_silence_and_twice(scale):
    gates = Gates(8, "both")
    torch.nn.init.normal_(gates.channel.expand.weight, std=scale)
    torch.nn.init.normal_(gates.spatial.conv.weight, std=scale)
    gates(torch.randn(2, 8, 4, 4))
    for last in (gates.channel.last, gates.spatial.last):
        assert 0 <= last.min() <= last.max() <= 2
    assert gates.channel.last.shape == (2, 8, 1, 1)
    assert gates.spatial.last.shape == (2, 1, 4, 4)
