"""The example of the ring of Gaussians: modes and divergences of points that are known."""

from __future__ import annotations

import math
import sys
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest
import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "mixture_of_gaussians.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = util.spec_from_file_location("mixture_of_gaussians", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_points_of_the_ring_cover_every_mode_without_divergence(example):
    torch.manual_seed(1)
    real = example.real_points(20_000)
    assert example.coverage(real) == 8
    assert max(example.divergences(real)) < 0.05


def test_a_generator_of_two_modes_covers_two_and_diverges_as_it_should(example):
    torch.manual_seed(1)
    few = example.CENTRES[torch.randint(2, (20_000,))] + example.SPREAD * torch.randn(20_000, 2)
    assert example.coverage(few) == 2
    forward, backward = example.divergences(few)
    assert 1 < backward < math.log(4)  # q is p on a quarter of it; the added points lower log 4
    assert forward > backward  # six modes with next to no mass
