"""Every convolution of a discriminator but its last one has a spectral norm of 1."""

import pytest
import torch
from conftest import tiny
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from sonobalance.gan.discriminators import make_discriminators
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.objectives import ROLES


@pytest.mark.parametrize("objective", ["d2gan", "real_class", "single"])
def test_the_largest_singular_value_of_each_layer_is_one(objective):
    torch.manual_seed(0)
    settings = tiny(objective=objective)
    eyes = FrozenFeatures("test_resnet", settings.image_size_px)
    networks = make_discriminators(settings, 2, eyes)
    with torch.no_grad():
        for role in ROLES[objective]:
            network = networks[role.name].train()
            linear = {
                name: layer for name, layer in network.named_modules()
                if isinstance(layer, nn.Conv2d)
                and not name.endswith("score") and ".mixers." not in name
            }  # fmt: skip
            assert len(linear) > 3, role.name
            for layer in linear.values():
                assert is_parametrized(layer, "weight"), role.name
                layer.parametrizations.weight.original.mul_(5)  # else it may be 1 by chance
                for _ in range(60):  # each look at the weight in training is one iteration
                    weight = layer.weight
                largest = torch.linalg.matrix_norm(weight.flatten(1), 2)
                assert float(largest) == pytest.approx(1.0, abs=0.02), role.name
