"""Pooling of the folds' scores: equal to one table of all images, and paired across arms."""

import importlib.util
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sonobalance import runs
from sonobalance.config import Settings
from sonobalance.files import write_json

COMMAND = Path(__file__).parents[2] / "benchmarks" / "explain_folds.py"


@pytest.fixture(scope="module")
def command():
    spec = importlib.util.spec_from_file_location("explain_folds", COMMAND)
    module = importlib.util.module_from_spec(spec)

    sys.modules["explain_folds"] = module
    spec.loader.exec_module(module)
    return module


def scores(shift=0.0):
    rng = np.random.default_rng(0)
    return pd.DataFrame([
        {"id": f"i{i}", "group": str(i // 2), "label": ("benign", "malignant")[i % 2],
         "predicted": "benign", "map": name, "score": score,
         "value": rng.uniform(0, 0.5) + shift, "chance": 0.1}
        for i in range(20) for name in ("a", "b") for score in ("energy", "pointing_game")
    ])  # fmt: skip


def test_means_ratios_and_their_chance(command):
    table = scores()
    found = command.summary(table, seed=0)
    rows = table[(table["map"] == "a") & (table["score"] == "energy")]
    assert found["a"]["energy"]["value"] == pytest.approx(rows["value"].mean())
    assert found["a"]["energy_ratio"]["value"] == pytest.approx(rows["value"].mean() / 0.1)
    assert found["a"]["energy_ratio"]["chance"] == 1
    assert found["a"]["pointing_game"]["n"] == 20
    for score in found["b"].values():
        assert score["low"] < score["value"] < score["high"]


def test_a_fold_whose_gan_collapsed_is_explained_with_what_was_trained_instead(command, tmp_path):
    run = runs.new(tmp_path, tmp_path, Settings(), None)
    assert command.trained_arm(run, "dual-iterative") == "dual-iterative"
    write_json(tmp_path / "gan/gan.json", {"collapsed": True})
    assert command.trained_arm(run, "dual-iterative") == "over-sampling"
    assert command.trained_arm(run, "none") == "none"


def test_a_fold_without_a_model_is_named(command, tmp_path):
    folder = tmp_path / "units" / "none-seed0-fold1-abc"
    runs.new(folder, tmp_path, Settings(), None).save()
    with pytest.raises(SystemExit, match="none-seed0-fold1-abc have no model"):
        command.works(Namespace(benchmark=[tmp_path], external=None, work=tmp_path), "none")


def test_changes_are_paired(command):
    """The same images a tenth higher: the change is exact, whatever the images' spread."""
    given = Namespace(arm="none", against="dual-iterative", seed=0)
    found = command.changes(given, scores(), scores(0.1).sample(frac=1, random_state=1))
    change = found["maps"]["a"]["energy"]
    assert change["difference"] == pytest.approx(0.1)
    assert (change["low"], change["high"]) == pytest.approx((0.1, 0.1))
    assert change["n"] == 20
    assert found["by_class"]["benign"]["b"]["pointing_game"]["n"] == 10
