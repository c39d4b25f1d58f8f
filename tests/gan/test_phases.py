from dataclasses import replace

import pytest
import torch
from conftest import tiny

from sonobalance.gan.discriminators import make_discriminators
from sonobalance.gan.objectives import ROLES
from sonobalance.gan.phases import Batch, adversarial_phases, run_phases
from sonobalance.gan.snapshot import make_generator


def game(objective):
    torch.manual_seed(0)
    settings = tiny(objective=objective)
    generator = make_generator(settings, 2)
    networks = make_discriminators(settings, 2)
    for network in networks.values():
        network.requires_grad_(False)
    targets = torch.tensor([0, 1, 0, 1])
    fake = generator(torch.randn(4, 8), targets, torch.randn(4, generator.noise_dim))
    real = torch.rand(4, 1, 32, 32)
    batch = Batch(targets, real, fake, real[:1], fake[:1])
    return adversarial_phases(networks, generator, settings), networks, generator, batch


@pytest.mark.parametrize(
    ("objective", "names"),
    [
        ("d2gan", ["D1", "D1_r1", "D2", "D2_r1", "G"]),
        ("real_class", ["C", "C_r1", "R", "R_r1", "G"]),
        ("single", ["D", "D_r1", "G"]),
    ],
)
def test_phases_are_a_list_and_penalties_are_lazy(objective, names):
    phases, _, _, batch = game(objective)
    assert [phase.name for phase in phases] == names
    logged = run_phases(phases, batch, step=1)
    due = [key for key in logged if key in {f"loss_{name}" for name in names}]
    assert due == [f"loss_{name}" for name in names if not name.endswith("r1")]


def test_a_batch_without_anchors_has_no_anchor_loss():
    phases, _, _, batch = game("d2gan")
    logged = run_phases(phases, replace(batch, anchors=batch.real[:0], anchored=batch.fake[:0]), 1)
    assert logged["anchor"] == 0
    assert torch.isfinite(logged["loss_G"])


@pytest.mark.parametrize("objective", ["d2gan", "real_class"])
def test_each_phase_changes_its_own_network_only(objective):
    phases, networks, generator, batch = game(objective)
    everything = {**networks, "G": generator}
    for phase in phases:
        before = {k: [p.clone() for p in n.parameters()] for k, n in everything.items()}
        run_phases([phase], batch, step=0)
        changed = {
            name for name, network in everything.items()
            if not all(map(torch.equal, before[name], network.parameters()))
        }  # fmt: skip
        assert changed == {phase.name.removesuffix("_r1")}


@pytest.mark.parametrize("objective", ["d2gan", "real_class", "single"])
def test_discriminators_learn_to_tell_real_from_generated(objective):
    phases, networks, _, batch = game(objective)
    rows = [phase for phase in phases if phase.name in networks]
    batch = Batch(batch.targets, batch.real, batch.fake.detach(), batch.anchors, batch.anchored)
    for step in range(80):
        run_phases(rows, batch, step)
    settings = tiny(objective=objective)
    for role in ROLES[objective]:
        real, fake = (
            role.log_ratio(networks[role.name](x, batch.targets), batch.targets, settings)
            for x in (batch.real, batch.fake)
        )
        assert real.min() > fake.max(), role.name
