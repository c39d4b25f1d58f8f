import math

import pytest
import torch
from conftest import blobs, tiny

from sonobalance.files import read_json, read_lines
from sonobalance.gan import judging
from sonobalance.gan.balance import Balance, learning, pull, weigh
from sonobalance.gan.discriminators import make_discriminators
from sonobalance.gan.objectives import ROLES
from sonobalance.gan.train import train_gan

TARGETS = torch.tensor([0, 1])


def balance(pull, agreement, product, learning=None):
    """A balance whose discriminators learn as usual unless told."""
    return Balance(pull, learning or dict.fromkeys(pull, 0.6), agreement, product)


def sure(role, size):
    """Logits (2, 4) of real and of generated images that a discriminator is sure of."""
    if role.head == "twin":  # two classes of real images, then two of generated ones
        real = size * torch.eye(4)[:2]
        return real, size * torch.eye(4)[2:]
    sign = -1.0 if role.name == "D2" else 1.0  # D2 is high where images are generated
    return torch.full((2, 4), sign * size), torch.full((2, 4), -sign * size)


@pytest.mark.parametrize("objective", ["d2gan", "real_class", "single"])
def test_a_discriminator_that_is_sure_of_every_image_is_idle_and_one_that_starts_is_not(objective):
    settings = tiny(objective=objective, alpha=0.7, beta=0.3)
    both = (TARGETS, TARGETS)
    for role in ROLES[objective]:
        start = torch.full((2, 4), role.start(settings))
        for logits, idle in (((start, start), False), (sure(role, 200.0), True)):
            found = {"D": learning(role, logits, both, settings)}
            pulled = {"D": pull(role, logits[1], TARGETS, settings)}
            assert Balance(pulled, found, 1.0, 0.0).idle == (["D"] if idle else [])


def test_learning_of_a_hinge_is_the_share_within_its_margin():
    """Half of the real and three quarters of the generated patches are within."""
    real = torch.tensor([[2.0, 0.5], [1.5, -3.0]])
    fake = torch.tensor([[-0.5, 2.0], [-2.0, 0.0], [-2.0, 1.0], [0.3, 0.3]])
    targets = (TARGETS, torch.tensor([0, 1, 0, 1]))
    found = learning(ROLES["single"][0], (real, fake), targets, tiny(objective="single"))
    assert found == pytest.approx((1 / 2 + 3 / 4) / 2)


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


def test_saturated_discriminators_stop_the_training_with_a_sentence(
    tmp_path, cpu, monkeypatch, capsys
):
    settings = tiny(collapse_ticks=2, total_kimg=0.08)
    quiet = Balance({"D1": 0.001, "D2": 0.9}, {"D1": 0.6, "D2": 0.003}, 0.9, 0.1)
    monkeypatch.setattr(judging, "weigh", lambda *_: quiet)
    train_gan(blobs(), settings, seed=0, folder=tmp_path, device=cpu)
    report = read_json(tmp_path / "gan.json")
    assert report["collapsed"]
    assert "nothing left to learn" in report["stop"]
    assert "nothing left to learn" in " ".join(capsys.readouterr().err.split())
    assert report["kimg"] == pytest.approx(0.016)
    last = read_lines(tmp_path / "stats.jsonl")[-1]
    assert (last["pull_D1"], last["learning_D2"]) == (0.001, 0.003)


def weighed(monkeypatch, tmp_path, rows, **changes):
    """A training whose discriminators weigh as told, one snapshot after the other; its report."""
    measured = iter(rows)
    monkeypatch.setattr(judging, "weigh", lambda *_: next(measured))
    settings = tiny(collapse_ticks=2, total_kimg=0.008 * len(rows), **changes)
    train_gan(blobs(), settings, seed=0, folder=tmp_path, device=torch.device("cpu"))
    return read_json(tmp_path / "gan.json")


def test_one_idle_discriminator_is_warned_of_once_and_the_training_goes_on(
    tmp_path, monkeypatch, capsys
):
    """Idle in one snapshot, then in two in a row, then once more after it recovered."""
    idle, good = (
        balance({"D1": 0.001, "D2": 0.6}, 0.9, 0.1),
        balance({"D1": 0.6, "D2": 0.6}, 0.9, 0),
    )
    report = weighed(monkeypatch, tmp_path, [idle, good, idle, idle, good, idle, idle])
    (warning,) = report["warnings"]
    assert warning.startswith("D1 was sure of the images for 2 snapshots, up to 0.032 kimg")
    assert "rested on D2." in warning
    assert " ".join(capsys.readouterr().err.split()).count("D1 was sure of the") == 1
    assert not report["collapsed"]
    assert report["kimg"] == pytest.approx(0.056)


@pytest.mark.parametrize(("agreement", "product"), [(0.05, 0.0), (0.9, 3.5), (0.9, -3.5)])
def test_discriminators_that_disagree_are_warned_of(tmp_path, monkeypatch, agreement, product):
    apart = balance({"D1": 0.6, "D2": 0.6}, agreement, product)
    report = weighed(monkeypatch, tmp_path, [apart, apart, apart])
    (warning,) = report["warnings"]
    assert "D1 and D2 disagreed" in warning
    assert f"correlate by {agreement:.2f}" in warning
    assert "up to 0.016 kimg" in warning
    assert not report["collapsed"]


def test_the_ratios_of_other_objectives_are_not_compared(tmp_path, monkeypatch):
    apart = balance({"C": 0.6, "R": 1.0}, -0.5, 9.0)
    report = weighed(monkeypatch, tmp_path, [apart, apart], objective="real_class")
    assert report["warnings"] == []


@pytest.mark.parametrize("worst", [
    balance({"D1": 0.42, "D2": 0.55}, 0.86, -1.0),  # of d2gan on BUSI at 64 px, up to 18 kimg
    balance({"D1": 0.16, "D2": 0.63}, 0.41, -1.4),  # of 95 images at 32 px, without a backbone
])  # fmt: skip
def test_healthy_trainings_are_not_warned_of(tmp_path, monkeypatch, worst):
    assert weighed(monkeypatch, tmp_path, [worst, worst, worst])["warnings"] == []


def test_a_warning_is_said_once_over_a_resumed_training(tmp_path, monkeypatch, capsys):
    idle = balance({"D1": 0.6, "D2": 0.001}, 0.9, 0.0)
    first = weighed(monkeypatch, tmp_path, [idle, idle])
    capsys.readouterr()
    given = {"seed": 0, "folder": tmp_path, "device": torch.device("cpu"), "total_kimg": 0.04}
    monkeypatch.setattr(judging, "weigh", lambda *_: idle)
    train_gan(blobs(), tiny(collapse_ticks=2), **given)
    assert read_json(tmp_path / "gan.json")["warnings"] == first["warnings"]
    assert "D2 was sure" not in capsys.readouterr().err
