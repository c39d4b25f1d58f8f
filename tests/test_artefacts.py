"""Which arms a run trains, and which of them becomes the model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sonobalance import runs
from sonobalance.artefacts import choose_arm, trained_arms
from sonobalance.files import write_json, write_text
from sonobalance.layers import parse
from sonobalance.runs import Run
from sonobalance.stages import STAGES


def run_with(folder: Path, best_round: int, scores: dict[str, float], **settings: Any) -> Run:
    """A run whose loop ended so, and arms that reached these macro-F1 on VAL."""
    run = runs.new(folder, folder, parse({"arms": list(scores)} | settings), None)
    write_json(folder / "synthesis/synthesis.json", {"best_round": best_round})
    for arm, score in (scores | {"over-sampling": 0.1}).items():
        page = {"validation": {"macro_f1": score}, "weights_sha256": arm}
        write_json(folder / f"classifier/{arm}/model.json", page)
    return run


def test_a_guard_that_bars_every_arm_has_over_sampling_trained_and_chosen(tmp_path: Path) -> None:
    run = run_with(tmp_path, 0, {"dual-iterative": 0.9})
    assert trained_arms(run) == ("dual-iterative", "over-sampling")
    choice = choose_arm(run)
    assert choice["chosen"] == "over-sampling"
    assert choice["guarded"]


@pytest.mark.parametrize(
    ("best_round", "guard", "chosen"),
    [(0, True, "none"), (0, False, "dual-iterative"), (2, True, "dual-iterative")],
)
def test_the_guard_bars_synthesis_where_it_found_nothing_and_only_there(
    tmp_path: Path, best_round: int, guard: bool, chosen: str
) -> None:
    run = run_with(
        tmp_path, best_round, {"none": 0.5, "dual-iterative": 0.9}, synthesis={"harm_guard": guard}
    )
    assert trained_arms(run) == ("none", "dual-iterative")
    assert choose_arm(run)["chosen"] == chosen


def test_what_follows_training_is_stale_when_only_the_weights_changed(tmp_path: Path) -> None:
    run = run_with(tmp_path, 1, {"none": 1.0})
    before = choose_arm(run)
    page = {"validation": {"macro_f1": 1.0}, "weights_sha256": "other weights, as good on VAL"}
    write_json(tmp_path / "classifier/none/model.json", page)
    assert choose_arm(run)["chosen"] == before["chosen"]
    assert choose_arm(run) != before
    assert "classifier/arms.json" in STAGES["predict"].reads


def test_without_a_generator_its_arms_are_not_trained(tmp_path: Path) -> None:
    run = run_with(tmp_path, 1, {"none": 0.5, "dual-iterative": 0.9})
    write_text(tmp_path / "gan/gan.json", "{}")
    assert trained_arms(run) == ("none",)
    assert choose_arm(run)["chosen"] == "none"


def test_former_settings_bring_their_own_maps_back_and_a_missing_map_is_drawn_again(
    tmp_path: Path,
) -> None:
    drawn: list[str] = []

    def draw(run: Run) -> None:
        target = run.settings.explanation.target
        drawn.append(target)
        case = {"image": "maps/a.png", "panels": [], "counterfactual": None}
        write_json(run.path("explanation.json"), {"cases": [case], "target": target})
        write_text(run.path("maps/scores.csv"), "")
        write_text(run.path("maps/a.png"), target)
        if target == "true" and len(drawn) == 2:
            raise RuntimeError("killed")

    stage = replace(STAGES["explain"], reads=(), work=draw)
    picture = tmp_path / "run" / "maps" / "a.png"

    def explain(target: str) -> bool:
        given = parse({"explanation": {"target": target}})
        return runs.create(picture.parents[1], tmp_path, given, None).perform(stage, redo=True)

    picture.parents[1].mkdir()
    assert explain("predicted")
    with pytest.raises(RuntimeError, match="killed"):
        explain("true")
    assert not explain("predicted")
    assert picture.read_text() == "predicted"
    picture.unlink()
    assert explain("predicted")
    assert picture.read_text() == "predicted"


def test_a_result_that_nobody_recorded_is_made_again(tmp_path: Path) -> None:
    """As the scores beside an explanation of an earlier version."""
    calls: list[str] = []

    def work(run: Run) -> None:
        calls.append("worked")
        write_text(run.path("scores.csv"), "")

    stage = replace(STAGES["index"], reads=(), writes=("scores.csv",), work=work)
    (tmp_path / "run").mkdir()
    runs.create(tmp_path / "run", tmp_path, parse({}), None).perform(stage)
    run = runs.open_run(tmp_path / "run")
    del run.record["stages"]["index"]["outputs"]["scores.csv"]
    assert run.perform(stage)
    assert not run.perform(stage)
    assert len(calls) == 2
