"""Folding changes no answer, leaves the original alone, and notices where it cannot be done."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.deployment.folded import folded

SIDE = 64


def norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]


def trained(backbone: str, *, lesion_attention: bool = True) -> AttentiveClassifier:
    """A network whose batch norms have seen something and whose gates are open to differing."""
    torch.manual_seed(0)
    model = AttentiveClassifier(
        backbone, 3, "both", SIDE, lesion_attention=lesion_attention, partners=["test_efficientnet"]
    )
    for norm in norms(model):
        for name, tensor in norm.named_buffers():
            if name == "running_mean":
                tensor.normal_(0, 0.3)
            if name == "running_var":
                tensor.uniform_(0.5, 2)
    for parameter in model.parameters():
        parameter.data += 0.01 * torch.randn_like(parameter)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("backbone", ["mobilenetv2_035", "resnet10t", "vit_tiny_patch16_224"])
def test_logits_and_features_stay(backbone):
    model = trained(backbone, lesion_attention="vit" not in backbone)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    fast = folded(model, SIDE)
    images = torch.rand(3, 1, SIDE, SIDE) * 2 - 1
    with torch.inference_mode():
        for got, wanted in zip(
            fast.logits_and_features(images), model.logits_and_features(images), strict=True
        ):
            torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
    assert not [*norms(fast.backbone), *norms(fast.partners[0].backbone)]
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


class Crossed(nn.Module):
    """Norms stand behind the convolutions that they do not follow when it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.first(self.norm(images).relu())


def test_a_network_whose_order_misleads_keeps_its_norms():
    model = trained("resnet10t")
    crossed = Crossed()
    crossed.norm.running_mean.fill_(1)  # type: ignore[union-attr]
    crossed.norm.weight.data.fill_(3)
    crossed.norm.bias.data.fill_(2)
    model.backbone.conv1 = nn.Sequential(crossed.eval(), model.backbone.conv1)
    count = len(norms(model))
    fast = folded(model, SIDE)
    assert len(norms(fast)) == count
    images = torch.rand(2, 1, SIDE, SIDE) * 2 - 1
    with torch.inference_mode():
        torch.testing.assert_close(fast(images), model(images))
