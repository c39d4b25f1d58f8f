"""The example of the ring of Gaussians: modes and divergences of points that are known."""

from __future__ import annotations

import json
import math
import sys
from importlib import util
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "mixture_of_gaussians.py"
MEASURED = ROOT / "docs" / "results" / "mixture.json"


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


def test_two_discriminators_cover_what_one_does_and_diverge_less_in_both_directions():
    """Of the committed result, since a training long enough to compare them takes minutes.

    In the 20 seconds that a test may take, both cover none to two modes (seeds 0 to 2).
    """
    measured = json.loads(MEASURED.read_text())
    rows = {
        name: [row for row in measured["rows"] if row["objective"] == name]
        for name in ("d2gan", "single")
    }
    assert [row["seed"] for row in rows["d2gan"]] == [row["seed"] for row in rows["single"]]
    assert all(math.isfinite(row[key]) for row in measured["rows"] for key in ("kl_p_q", "kl_q_p"))

    def mean(name, key):
        return sum(row[key] for row in rows[name]) / len(rows[name])

    assert mean("d2gan", "modes") >= mean("single", "modes")
    for key in ("kl_p_q", "kl_q_p"):
        assert mean("d2gan", key) < mean("single", key)


def test_the_example_runs_as_the_result_was_made(example, tmp_path, monkeypatch):
    """A few steps only; every number is finite and the file has what the committed one has."""
    out = tmp_path / "mixture.json"
    words = ["--steps", "20", "--seeds", "0", "--json", str(out), "--out", str(tmp_path / "m.png")]
    monkeypatch.setattr(sys, "argv", ["mixture_of_gaussians.py", *words])
    example.main()
    made, committed = (json.loads(path.read_text()) for path in (out, MEASURED))
    assert made.keys() == committed.keys()
    assert made["modes"] == committed["modes"]
    assert [row["objective"] for row in made["rows"]] == ["d2gan", "single"]
    for row in made["rows"]:
        assert row.keys() == committed["rows"][0].keys()
        assert math.isfinite(row["kl_p_q"])
        assert math.isfinite(row["kl_q_p"])
        assert 0 <= row["modes"] <= committed["modes"]
    assert (tmp_path / "m.png").stat().st_size > 0
