import math

import pytest
import torch
from conftest import blobs, tiny

from sonobalance.files import read_json, read_lines
from sonobalance.gan import judging
from sonobalance.gan.balance import Balance, pull, weigh
from sonobalance.gan.discriminators import make_discriminators
from sonobalance.gan.objectives import ROLES
from sonobalance.gan.train import train_gan

TARGETS = torch.tensor([0, 1])


@pytest.mark.parametrize("objective", ["d2gan", "real_class", "single"])
def test_pull_is_one_where_the_discriminators_start(objective):
    settings = tiny(objective=objective, alpha=0.7, beta=0.3)
    for role in ROLES[objective]:
        logits = torch.full((2, 4), role.start(settings))
        assert pull(role, logits, TARGETS, settings) == pytest.approx(1.0)


def test_pull_of_a_sure_coverage_discriminator_vanishes_by_hand():
    """dD1/dx of softplus is the sigmoid: 1/(1 + e^10) at -10, against 1 - e^-α at the start."""
    settings = tiny(alpha=0.7)
    found = pull(ROLES["d2gan"][0], torch.full((2, 4), -10.0), TARGETS, settings)
    assert found == pytest.approx(1 / (1 + math.exp(10)) / (1 - math.exp(-0.7)), rel=1e-4)


def test_at_the_start_the_product_is_one_and_the_mode_is_kept():
    torch.manual_seed(0)
    settings, images = tiny(), torch.rand(6, 1, 32, 32)
    networks = make_discriminators(settings, 2)
    for network in networks.values():
        for weight in (network.head.score.weight, network.head.embedding.weight):
            torch.nn.init.zeros_(weight)
    targets = torch.tensor([0, 1] * 3)
    found = weigh(networks, None, settings, (images, images), (targets, targets))
    assert found.product == pytest.approx(0.0, abs=1e-5)
    assert all(network.training for network in networks.values())


def test_saturated_discriminators_stop_the_training_with_a_sentence(tmp_path, cpu, monkeypatch):
    settings = tiny(collapse_ticks=2, total_kimg=0.08)
    quiet = Balance({"D1": 0.001, "D2": 0.002}, 0.9, 0.1)
    monkeypatch.setattr(judging, "weigh", lambda *_: quiet)
    train_gan(blobs(), settings, seed=0, folder=tmp_path, device=cpu)
    report = read_json(tmp_path / "gan.json")
    assert report["collapsed"]
    assert "nothing to follow" in report["stop"]
    assert report["kimg"] == pytest.approx(0.016)
    assert read_lines(tmp_path / "stats.jsonl")[-1]["pull_D1"] == 0.001
