"""What our training loop costs is told over the fastest bare loop, and named by its settings."""

from __future__ import annotations

import pytest

from sonobalance.config import ClassifierSettings
from sonobalance.precision import Depthwise


@pytest.fixture
def throughput(module):
    return module("classifier_throughput")


@pytest.fixture
def small():
    return ClassifierSettings(
        backbone="test_efficientnet", image_size_px=32, batch_size=2, lesion_attention=False
    )


def test_overheads_are_over_the_faster_of_the_bare_variants(throughput, monkeypatch):
    spent = {"slow": 4.0, "fast": 2.0, "ours": 3.0, "fastest, but ours": 1.0}
    clock = [0.0]
    monkeypatch.setattr(throughput.time, "process_time", lambda: clock[0])

    def work(seconds):
        def run():
            clock[0] += seconds
            return 1

        return run

    variants = {name: work(seconds) for name, seconds in spent.items()}
    found = throughput.compared(variants, 3, 2)
    assert {row["overhead_over"] for row in found.values()} == {"fast"}
    overheads = {name: row["overhead"] for name, row in found.items()}
    expected = {"slow": 1.0, "fast": 0.0, "ours": 0.5, "fastest, but ours": -0.5}
    assert overheads == pytest.approx(expected)
    assert throughput.compared(variants, 3)["fast"]["overhead"] == pytest.approx(-0.5)


def test_the_bare_loops_differ_in_their_depthwise_convolutions(throughput, small, monkeypatch):
    made = []
    create = throughput.timm.create_model

    def noted(*given, **named):
        made.append(create(*given, **named))
        return made[-1]

    monkeypatch.setattr(throughput.timm, "create_model", noted)
    images = throughput.noise(2, 32)
    steps = [throughput.bare_step(images, small, sped_up=flag) for flag in (False, True)]
    assert [step() for step in steps] == [2, 2]
    assert [any(type(m) is Depthwise for m in net.modules()) for net in made] == [False, True]


def test_variants_run_and_are_named_by_the_settings(throughput, small):
    images = throughput.noise(2, 32)
    variants = throughput.training_variants(images, small)
    bare = [*variants][: throughput.BARE_LOOPS]
    assert all("timm" in name for name in bare)
    assert not any("timm" in name for name in [*variants][throughput.BARE_LOOPS :])
    assert [*variants][-1].endswith(f"{small.augmentation} augmentation")
    strong = small.model_copy(update={"augmentation": "strong"})
    assert [*throughput.training_variants(images, strong)][-1].endswith("strong augmentation")
    found = throughput.compared(variants, 1, throughput.BARE_LOOPS)
    assert all(row["per_second"] > 0 for row in found.values())
