"""What a run is expected to cost follows what it does."""

from __future__ import annotations

import pytest

from sonobalance import plan
from sonobalance.config import Settings


def minutes_of_gan(monkeypatch, kimg, snapshot_kimg):
    monkeypatch.setattr(plan, "convolution_flops_per_second", lambda: 1e10)
    settings = Settings.model_validate({
        "gan": {"image_size_px": 32, "total_kimg": 8.0, "snapshot_kimg": snapshot_kimg},
        "synthesis": {"rounds": 3, "gan_kimg_per_round": kimg},
    })  # fmt: skip
    costs = {row.stage: row.minutes for row in plan.estimate(100, settings)}
    return costs["train-gan and synthesize"]


def test_later_rounds_train_up_to_whole_snapshots(monkeypatch):
    none, some, whole = (minutes_of_gan(monkeypatch, kimg, 2.0) for kimg in (0.0, 0.5, 2.0))
    assert none < some == pytest.approx(whole)
    assert minutes_of_gan(monkeypatch, 0.5, 0.5) < some
