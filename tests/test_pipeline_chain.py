"""The chain of stages where one of them fails, is left out, or is done by several machines."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sonobalance import api, pipeline, runs
from sonobalance.config import Settings
from sonobalance.errors import CollapseError, InputError, SettingsError, StaleError
from sonobalance.files import write_text
from sonobalance.layers import parse
from sonobalance.locking import locked
from sonobalance.runs import Run, Stage


def writes(name: str) -> Callable[[Run], None]:
    return lambda run: write_text(run.path(name), f"alpha {run.settings.gan.alpha}")


def trains(run: Run) -> None:
    if run.settings.gan.alpha < 1:
        raise CollapseError("The generator collapsed.")
    write_text(run.path("gan/snapshot.safetensors"), "weights")


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three stages: a GAN that collapses below an alpha of 1, its synthesis, a training."""
    made = ("train-gan", "synthesize", "train")
    stages = (
        Stage(made[0], ("gan.alpha",), (), ("gan/snapshot.safetensors",), trains),
        Stage(
            made[1], (), ("gan/snapshot.safetensors",), ("synthesis/synthesis.json",),
            writes("synthesis/synthesis.json"),
        ),
        Stage(
            made[2], (), ("synthesis/synthesis.json?",), ("classifier/arms.json",),
            writes("classifier/arms.json"),
        ),
    )  # fmt: skip
    monkeypatch.setattr(pipeline, "STAGES", {stage.name: stage for stage in stages})
    monkeypatch.setattr(pipeline, "collapsed", lambda run: run.settings.gan.alpha < 1)


def with_alpha(alpha: float) -> Settings:
    return parse({"gan": {"alpha": alpha}})


@pytest.mark.usefixtures("chain")
def test_nothing_of_an_earlier_generator_outlives_a_collapse(tmp_path: Path) -> None:
    source, out = tmp_path / "images", tmp_path / "run"
    source.mkdir()
    pipeline.run_all(source, out, with_alpha(1), preset=None, redo=False)
    assert (out / "synthesis/synthesis.json").read_text() == "alpha 1.0"
    pipeline.run_all(source, out, with_alpha(0.5), preset=None, redo=True)
    assert not (out / "synthesis").exists()
    assert (out / "classifier/arms.json").read_text() == "alpha 0.5"
    assert "synthesize" not in runs.open_run(out).record["stages"]


def test_a_further_machine_helps_without_holding_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.create(tmp_path, tmp_path, parse({"gan": {"nodes": 2}}), None).save()
    before = (tmp_path / "run.json").read_bytes()
    stage = Stage("train-gan", (), (), ("helped",), writes("helped"))
    monkeypatch.setitem(pipeline.STAGES, "train-gan", stage)
    monkeypatch.setenv("NODE_RANK", "1")
    with locked(tmp_path):
        pipeline.continue_run(tmp_path, "train-gan", {}, redo=False)
    assert (tmp_path / "helped").is_file()
    assert (tmp_path / "run.json").read_bytes() == before


def test_a_further_machine_is_told_what_it_can_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_RANK", "1")
    with pytest.raises(SettingsError, match=r"train-gan .* on every machine but the first"):
        pipeline.run_all(
            tmp_path, tmp_path / "run", parse({"gan": {"nodes": 2}}), preset=None, redo=False
        )


def test_a_setting_that_says_no_is_a_setting(tmp_path: Path) -> None:
    runs.create(tmp_path, tmp_path, parse({"clean_marks": True}), None).save()
    seen: list[bool] = []
    stage = Stage("audit", (), (), (), lambda run: seen.append(run.settings.clean_marks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(pipeline.STAGES, "audit", stage)
        patch.setitem(pipeline.STAGES, "index", Stage("index", (), (), (), lambda run: None))
        pipeline.begin(tmp_path, tmp_path, "audit", {"clean_marks": False}, redo=True)
    assert seen == [False]
    assert not runs.open_run(tmp_path).settings.clean_marks


def test_a_setting_for_later_stages_is_kept_where_the_stage_was_finished(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("index", "audit"):
            patch.setitem(pipeline.STAGES, name, Stage(name, (), (), (), lambda run: None))
        for wanted in (True, False):
            pipeline.begin(tmp_path, tmp_path, "audit", {"clean_marks": wanted}, redo=False)
            assert runs.open_run(tmp_path).settings.clean_marks == wanted


def test_run_does_not_forget_that_marks_were_to_be_painted_over(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    out = tmp_path / "run"
    out.mkdir()
    runs.create(out, tmp_path, parse({"clean_marks": True}), None).save()
    with pytest.raises(SettingsError, match=r"--clean-marks or --no-clean-marks, .* is on in"):
        pipeline.run_all(tmp_path, out, parse({}), preset=None, redo=False)


def test_weights_given_to_the_generator_are_those_of_later_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.create(tmp_path, tmp_path, parse({"gan": {"total_kimg": 1}}), None).save()
    stage = Stage("train-gan", (), (), ("gan.txt",), writes("gan.txt"))
    monkeypatch.setitem(pipeline.STAGES, "train-gan", stage)
    weights = tmp_path / "weights.safetensors"
    with pytest.raises(InputError, match="Expected weights at"):
        api.train_gan(tmp_path, weights=weights)
    weights.write_bytes(b"")
    api.train_gan(tmp_path, weights=weights)
    settings = runs.open_run(tmp_path).settings
    assert settings.classifier.weights == weights
    assert settings.gan.total_kimg == 1


def test_an_edited_index_is_what_the_audit_then_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counts(run: Run) -> None:
        write_text(run.path("audit.json"), run.path("manifest.csv").read_text())

    for name, reads, made, work in (
        ("index", (), "manifest.csv", lambda run: write_text(run.path("manifest.csv"), "all")),
        ("audit", ("manifest.csv",), "audit.json", counts),
    ):
        monkeypatch.setitem(pipeline.STAGES, name, Stage(name, (), reads, (made,), work))
    out = tmp_path / "run"
    pipeline.begin(tmp_path, out, "audit", {}, redo=False)
    (out / "manifest.csv").write_text("but one")
    with pytest.raises(StaleError, match=r"manifest\.csv was edited since index"):
        pipeline.begin(tmp_path, out, "index", {}, redo=False)
    pipeline.begin(tmp_path, out, "audit", {}, redo=True)
    assert (out / "audit.json").read_text() == "but one"
    pipeline.begin(tmp_path, out, "index", {}, redo=True)
    assert (out / "manifest.csv").read_text() == "all"


@pytest.mark.parametrize(
    ("preset", "given", "said"),
    [
        (None, {}, "every network starts from scratch"),
        ("cpu", {"classifier": {"pretrained": True}}, "discriminators and gates see pixels alone"),
        ("cpu", {"classifier": {"pretrained": True}, "arms": ["none"]}, ""),
        ("demo", {}, ""),
    ],
)
@pytest.mark.usefixtures("chain")
def test_what_starts_from_scratch_is_said(preset, given, said, tmp_path, capsys):
    source = tmp_path / "images"
    source.mkdir()
    pipeline.run_all(source, tmp_path / "run", parse(given), preset=preset, redo=False)
    told = " ".join(capsys.readouterr().err.split())
    assert said in told
    assert ("scratch" in told or "pixels alone" in told) is bool(said)
