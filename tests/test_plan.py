"""What a run is expected to cost follows what it does."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sonobalance import pipeline, plan, runs
from sonobalance.comparison import benchmark
from sonobalance.config import GanSettings, Settings
from sonobalance.files import write_text
from sonobalance.gan.train import _goal_steps
from sonobalance.runs import Stage


def minutes_of_gan(monkeypatch, kimg, snapshot_kimg, **synthesis):
    monkeypatch.setattr(plan, "convolution_flops_per_second", lambda _: 1e10)
    settings = Settings.model_validate({
        "gan": {"image_size_px": 32, "total_kimg": 8.0, "snapshot_kimg": snapshot_kimg},
        "synthesis": {"rounds": 3, "gan_kimg_per_round": kimg, **synthesis},
    })  # fmt: skip
    costs = {row.stage: row.minutes for row in plan.estimate(100, settings)}
    return costs["train-gan and synthesize"]


def test_later_rounds_train_up_to_whole_snapshots(monkeypatch):
    none, some, whole = (minutes_of_gan(monkeypatch, kimg, 2.0) for kimg in (0.0, 0.5, 2.0))
    assert none < some == pytest.approx(whole)
    assert minutes_of_gan(monkeypatch, 0.5, 0.5) < some


@pytest.mark.parametrize(
    ("batch", "snapshot", "asked", "seen"),
    [
        (16, 2.0, 12.0, 12.0), (1024, 0.5, 48.0, 48.128), (256, 0.1, 4.0, 4.096),
        (768, 2.0, 48.0, 48.384), (16, 0.02, 4.0, 4.0),
    ],
)  # fmt: skip
def test_training_is_as_long_as_was_asked_up_to_a_snapshot(batch, snapshot, asked, seen):
    settings = GanSettings(batch_size=batch, snapshot_kimg=snapshot)
    steps = _goal_steps(settings, asked)
    assert steps * batch / 1000 == pytest.approx(seen)
    assert plan._whole_snapshots(asked, settings) == pytest.approx(seen)


def test_rounds_that_train_anew_cost_a_training_each(monkeypatch):
    monkeypatch.setattr(plan, "SYNTHESIS_SECONDS_PER_IMAGE", 0.0)
    once = minutes_of_gan(monkeypatch, 0.0, 2.0, enlarger_kimg=0.0)
    fed = minutes_of_gan(monkeypatch, 0.0, 2.0, enlarger_kimg=0.0, feed_back=True)
    assert fed == pytest.approx(3 * once)


def test_a_generator_that_also_draws_masks_costs_hardly_more():
    plain, masks = (plan.gan_flops(GanSettings(synthesize_masks=m)) for m in (False, True))
    for without, both in zip(plain, masks, strict=True):
        assert without < both < 1.2 * without


def test_units_cost_as_many_generators_and_classifiers_as_there_are(monkeypatch):
    monkeypatch.setattr(plan, "convolution_flops_per_second", lambda _: 1e10)
    settings = Settings.model_validate({"gan": {"image_size_px": 32, "total_kimg": 1.0}})

    def minutes(generators, *arms):
        return plan.cost_of_units(100, settings, generators=generators, arms=arms).minutes

    assert minutes(0) == 0
    assert minutes(1) > 0
    assert minutes(2) == pytest.approx(2 * minutes(1))
    assert minutes(0, "none") > 0
    assert minutes(1, "none", "focal") == pytest.approx(minutes(1) + 2 * minutes(0, "none"))
    assert 0 < minutes(0, "probe") < 0.1 * minutes(0, "none")  # a regression on frozen features


def test_arms_on_frozen_features_cost_little(monkeypatch):
    monkeypatch.setattr(plan, "convolution_flops_per_second", lambda _: 1e10)

    def training(frozen, *arms):
        settings = Settings.model_validate({"arms": arms, "classifier": {"frozen": frozen}})
        return {c.stage: c.minutes for c in plan.estimate(100, settings)}["train"]

    assert training(True, "none") == pytest.approx(training(False, "probe"))
    assert training(False, "none", "probe") == pytest.approx(
        training(False, "none") + training(False, "probe")
    )


@pytest.mark.parametrize(
    ("given", "passes"),
    [({}, 1), ({"zoom_test": 1.2}, 2), ({"zoom_test": 1.2, "zoom_on": "lesion"}, 3)],
)
def test_a_second_look_costs_a_pass_and_one_more_to_find_the_lesion(monkeypatch, given, passes):
    monkeypatch.setattr(plan, "convolution_flops_per_second", lambda _: 1e10)

    def explaining(**looks):
        settings = Settings.model_validate({"classifier": looks})
        return {c.stage: c.minutes for c in plan.estimate(100, settings)}["explain"]

    assert explaining(**given) == pytest.approx(passes * explaining())


def test_a_generator_trained_by_itself_is_announced(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan, "convolution_flops_per_second", lambda _: 1e10)
    monkeypatch.setattr(pipeline, "manifest_of", lambda _: range(100))
    stage = Stage(
        "train-gan", (), (), ("done.txt",), lambda run: write_text(run.path("done.txt"), "")
    )
    monkeypatch.setitem(pipeline.STAGES, "train-gan", stage)
    runs.create(tmp_path, tmp_path, Settings(), None).save()
    (tmp_path / "splits.csv").touch()
    for told in (True, False):
        pipeline.continue_run(tmp_path, "train-gan", {}, redo=False)
        assert (
            "memory for train-gan and synthesize" in " ".join(capsys.readouterr().err.split())
        ) is told


def test_a_generator_that_no_arm_wants_is_trained_without_an_estimate(tmp_path, monkeypatch):
    stage = Stage(
        "train-gan", (), (), ("done.txt",), lambda run: write_text(run.path("done.txt"), "")
    )
    monkeypatch.setitem(pipeline.STAGES, "train-gan", stage)
    settings = Settings.model_validate({"arms": ["none", "over-sampling"]})
    runs.create(tmp_path, tmp_path, settings, None).save()
    (tmp_path / "splits.csv").touch()
    pipeline.continue_run(tmp_path, "train-gan", {}, redo=False)
    assert (tmp_path / "done.txt").is_file()


def test_what_is_left_of_a_benchmark_is_estimated_arm_by_arm(monkeypatch, capsys):
    asked = {}

    def minutes(images, _, **given):
        asked.update(given, images=images)
        return plan.Cost("units", 42.4, 1.23, 0)

    monkeypatch.setattr(plan, "cost_of_units", minutes)
    monkeypatch.setattr(benchmark, "manifest_of", lambda _: range(100))
    left = [SimpleNamespace(arm=arm) for arm in (None, "probe", "none", None, "probe")]
    benchmark._announce(left, SimpleNamespace(settings=Settings(device="cpu")))
    assert asked == {"generators": 2, "arms": ["probe", "none", "probe"], "images": 100}
    said = " ".join(capsys.readouterr().err.split())
    assert "Units left: 5, about 42 minutes one by one and 1.2 GiB of memory each" in said
