"""The averaged generator: its memory grows with the images seen, up to the setting."""

import pytest
import torch
from conftest import tiny

from sonobalance.gan.steps import _average
from sonobalance.gan.training import start


def left_of_the_old(images, steps: int, times: int = 1) -> float:
    """What is left of an average of zeros after averaging in ones, `times` from step `steps` on."""
    settings = tiny(batch_size=10, ema_halflife_kimg=1.0)
    cpu = torch.device("cpu")
    t = start(images, images.ids, settings, seed=0, device=cpu, eyes=None)
    for network, value in ((t.generator, 1.0), (t.average, 0.0)):
        for parameter in network.parameters():
            torch.nn.init.constant_(parameter, value)
    for step in range(steps, steps + times):
        t.counters.steps = step
        _average(t)
    values = torch.cat([p.detach().flatten() for p in t.average.parameters()])
    assert values.min() == values.max()
    return 1 - float(values[0])


def test_the_half_life_is_half_of_the_images_seen(images):
    """After n steps it is n / 2 of them, so that one step leaves 0.5^(2 / n) of the average."""
    for steps in (1, 2, 10, 100):
        assert left_of_the_old(images, steps) == pytest.approx(0.5 ** (2 / steps), abs=1e-5)


def test_the_half_life_ends_at_the_setting(images):
    """1 kimg are 100 steps of ten images, reached at step 200."""
    for steps in (200, 5000):
        assert left_of_the_old(images, steps) == pytest.approx(0.5**0.01, abs=1e-5)
    assert left_of_the_old(images, 5000, times=100) == pytest.approx(0.5, abs=1e-4)
