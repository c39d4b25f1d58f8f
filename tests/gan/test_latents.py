import torch
from hypothesis import given, settings, strategies

from sonobalance.gan.latents import ClassRows, LatentBank, draw
from sonobalance.gan.networks import unit_rms


@settings(max_examples=30, deadline=None)
@given(strategies.lists(strategies.integers(0, 3), min_size=1, max_size=30), strategies.integers(0))
def test_parents_are_always_of_the_class(labels, seed):
    targets = torch.tensor(labels)
    rows = ClassRows(targets, 4)
    generator = torch.Generator().manual_seed(seed % 2**31)
    wanted = targets[torch.randint(len(targets), (50,), generator=generator)]
    found = rows.pick(wanted, torch.rand(50, 3, generator=generator))
    assert (targets[found] == wanted[:, None]).all()


def test_every_member_of_a_class_is_picked_equally_often():
    rows = ClassRows(torch.tensor([0, 1, 0, 1, 1]), 2)
    uniform = (torch.arange(3000) + 0.5) / 3000
    found = rows.pick(torch.ones(3000, dtype=torch.int64), uniform)
    assert torch.bincount(found).tolist() == [0, 1000, 0, 1000, 1000]


def test_weights_are_uniform_on_the_simplex():
    weights = draw(torch.Generator().manual_seed(0), 20000, 3, 4, 1).weights
    torch.testing.assert_close(weights.sum(1), torch.ones(20000))
    torch.testing.assert_close(weights.mean(0), torch.full((3,), 1 / 3), rtol=0, atol=0.01)
    torch.testing.assert_close(  # variance of Dirichlet(1, 1, 1): 2/36
        weights.var(0), torch.full((3,), 2 / 36), rtol=0, atol=0.003
    )


def test_a_single_parent_without_noise_gives_its_latent_back():
    latents = unit_rms(torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(1)), 2)
    bank = LatentBank(latents, torch.zeros(5, dtype=torch.int64), torch.zeros(5, 4).long())
    draws = draw(torch.Generator().manual_seed(2), 4, 3, 8, 1)
    draws.weights[:] = torch.tensor([1.0, 0, 0])
    parents = torch.tensor([[3, 0, 1], [2, 2, 2], [0, 1, 4], [4, 0, 0]])
    mixed = bank.mix(parents, draws, noise=0.0)
    torch.testing.assert_close(mixed, latents[parents[:, 0], draws.flips[:, 0]])


def test_frame_comes_from_the_heaviest_parent():
    frames = torch.arange(20).view(5, 4)
    bank = LatentBank(torch.zeros(5, 2, 8), torch.zeros(5, dtype=torch.int64), frames)
    found = bank.frame_of(torch.tensor([[3, 1, 0]]), torch.tensor([[0.2, 0.7, 0.1]]))
    assert found.tolist() == [frames[1].tolist()]
