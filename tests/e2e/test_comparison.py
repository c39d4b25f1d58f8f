"""The benchmark: units cover every arm once per fold and seed; it resumes; its JSON is complete."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sonobalance import api
from sonobalance.comparison import DEFAULT_ARMS, units_of
from sonobalance.config import Settings
from sonobalance.data.phantoms import make_phantoms
from sonobalance.errors import InputError

TINY = {
    "audit": {"exhaustive_up_to": 0, "shortlist_size": 2},
    "classifier": {
        "backbone": "test_resnet", "image_size_px": 32, "epochs": 1, "batch_size": 16,
    },
    "evaluation": {"resamples": 100},
    "arms": ["none", "over-sampling"],
}  # fmt: skip


def test_every_arm_stands_once_in_every_fold_and_seed() -> None:
    arms = (*DEFAULT_ARMS, "single", "dual-one-shot")
    units = list(units_of(arms, folds=3, seeds=2))
    seen = [(unit.seed, unit.fold, arm) for unit in units for arm in unit.arms]
    assert len(seen) == len(set(seen)) == 3 * 2 * len(arms)
    assert len({unit.name for unit in units}) == len(units)


def test_arms_of_one_objective_share_one_gan() -> None:
    units = list(units_of(("dual-one-shot", "dual-iterative"), folds=2, seeds=1))
    assert [unit.arms for unit in units] == [("dual-one-shot", "dual-iterative")] * 2


def test_arms_without_synthesis_need_no_gan() -> None:
    assert {unit.objective for unit in units_of(("none", "over-sampling"), 2, 1)} == {None}


def test_a_small_benchmark_tests_every_image_once(tmp_path: Path) -> None:
    phantoms = make_phantoms(tmp_path / "phantoms", images=60, size_px=48)
    settings = Settings.model_validate(TINY)
    path = api.benchmark(phantoms, out=tmp_path / "out", folds=2, settings=settings)
    result = json.loads(path.read_text())
    assert set(result["arms"]) == {"none", "over-sampling"}
    assert {"value", "low", "high"} <= set(result["arms"]["none"]["macro_f1"])
    assert {(row["arm"], row["against"]) for row in result["paired"]} >= {("over-sampling", "none")}
    assert result["protocol"]["folds"] == 2
    assert result["n"] == 60 - len(excluded(tmp_path / "out" / "base" / "splits.csv"))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("weights.safetensors")}
    api.benchmark(phantoms, out=tmp_path / "out", folds=2, settings=settings)
    assert before == {p: p.stat().st_mtime_ns for p in before}


def excluded(splits: Path) -> list[str]:
    return [line for line in splits.read_text().splitlines() if ",excluded," in line]


def test_one_fold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="folds ≥ 2"):
        api.benchmark(tmp_path, out=tmp_path / "out", folds=1)
