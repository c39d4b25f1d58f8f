"""Gates against timm's own CBAM, and the identity they start from."""

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.layers import create_attn
from timm.layers.cbam import ChannelAttn

from sonobalance.classify.attention import ChannelGate, Gates, SpatialGate
from sonobalance.config import Attention


@pytest.mark.parametrize("attention", get_args(Attention))
def test_fresh_gates_change_no_bit(attention):
    x = torch.randn(3, 16, 5, 7)
    assert torch.equal(Gates(16, attention)(x), x)


def test_channel_gate_is_twice_the_gate_of_timm_on_standardised_summaries():
    x, gate = torch.randn(2, 32, 6, 6), ChannelGate(32, reduction=4)
    other = ChannelAttn(32, rd_channels=8)
    torch.nn.init.normal_(gate.expand.weight)
    torch.nn.init.zeros_(gate.reduce.bias)
    other.fc1.weight.data = gate.reduce.weight.data
    other.fc2.weight.data = gate.expand.weight.data

    def scores(summary):
        z = (summary - summary.mean(1, True)) / summary.std(1, correction=0, keepdim=True)
        return other.fc2(other.act(other.fc1(z[:, :, None, None])))

    by_hand = 2 * other.gate(scores(x.mean((2, 3))) + scores(x.amax((2, 3)))) * x
    torch.testing.assert_close(gate(x), by_hand, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", ["se", "eca"])
def test_timm_gates_are_doubled_and_expose_what_they_did(kind):
    x, gates = torch.randn(2, 16, 5, 7), Gates(16, kind)
    other = create_attn(kind, 16)
    gates.channel.timm.load_state_dict(other.state_dict())
    torch.testing.assert_close(gates(x), 2 * other(x))
    torch.testing.assert_close(gates.channel.last * x, gates(x))
    assert gates.channel.last.shape == (2, 16, 1, 1)


@pytest.mark.parametrize("kind", ["se", "eca"])
def test_timm_gates_learn_from_the_first_step_on(kind):
    gates = Gates(16, kind)
    gates(torch.randn(2, 16, 5, 5)).pow(3).sum().backward()
    assert sum(p.grad.abs().sum() for p in gates.parameters()) > 0


def test_spatial_gate_by_hand():
    x, gate = torch.randn(1, 8, 9, 9), SpatialGate(kernel_size=1)
    gate.conv.weight.data = torch.tensor([0.3, -0.7]).view(1, 2, 1, 1)
    mean, peak = x.mean(1)[0], x.amax(1)[0]
    z = [(m - m.mean()) / m.std(correction=0) for m in (mean, peak)]
    by_hand = x * 2 / (1 + torch.exp(-0.3 * z[0] + 0.7 * z[1]))
    torch.testing.assert_close(gate(x), by_hand, atol=1e-3, rtol=1e-3)


def test_gates_do_not_depend_on_the_size_of_the_features():
    torch.manual_seed(0)
    x, gates = torch.randn(2, 16, 5, 5), Gates(16, "both")
    torch.nn.init.normal_(gates.channel.expand.weight)
    torch.nn.init.normal_(gates.spatial.conv.weight)
    torch.testing.assert_close(gates(100 * x), 100 * gates(x), atol=0.05, rtol=1e-3)


def test_last_layers_learn_from_the_first_step_on():
    x, gates = torch.randn(2, 16, 5, 5), Gates(16, "both")
    gates(x).square().sum().backward()
    assert gates.channel.expand.weight.grad.abs().sum() > 0
    assert gates.spatial.conv.weight.grad.abs().sum() > 0


@settings(deadline=None)
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
