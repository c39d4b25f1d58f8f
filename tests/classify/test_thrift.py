"""The thrifty network computes the same values and gradients."""

import copy

import timm
import torch

from sonobalance.classify.thrift import unstride


def test_values_and_gradients_stay():
    torch.manual_seed(0)
    plain = timm.create_model("test_efficientnet", num_classes=2).eval()
    thrifty = copy.deepcopy(plain)
    changed = unstride(thrifty)
    strided = [
        m for m in plain.modules()
        if isinstance(m, torch.nn.Conv2d) and m.groups > 1 and m.stride == (2, 2)
    ]  # fmt: skip
    assert changed == len(strided) > 0
    assert plain.state_dict().keys() == thrifty.state_dict().keys()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(thrifty(images), plain(images))
    for model in (plain, thrifty):
        model(images).square().sum().backward()
    for one, other in zip(plain.parameters(), thrifty.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, atol=1e-4, rtol=1e-3)


def test_frozen_and_adaptive_convolutions_stay_as_they_are():
    frozen = timm.create_model("test_efficientnet").requires_grad_(False)
    assert unstride(frozen) == 0
    padded = torch.nn.Conv2d(4, 4, 3, padding="same", groups=4)
    assert unstride(torch.nn.Sequential(padded, torch.nn.Conv2d(4, 8, 3, stride=2))) == 0
