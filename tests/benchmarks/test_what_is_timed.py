"""What the benchmarks of speed time is what they say."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sonobalance.deployment.predictor import BundlePredictor

BUNDLE = Path(__file__).parents[1] / "deployment" / "frozen_v1.zip"


def test_lazy_penalties_count_at_their_share(module):
    throughput = module("gan_throughput")
    counter, penalised = SimpleNamespace(steps=0), []
    step = throughput.Lazy.of(lambda: penalised.append(counter.steps % 16 == 0), counter, 16)

    def cost(run):
        run()
        return 33.0 if penalised[-1] else 1.0

    assert step.mean(cost) == 3.0
    assert sorted(penalised) == [False, True]


def test_a_penalised_step_of_ours_has_more_convolutions(module):
    throughput = module("gan_throughput")
    given = SimpleNamespace(device="cpu", weights=None)
    t = throughput.training(32, 2, given)
    step = throughput.Lazy.of(throughput.stepper(t), t.counters, t.settings.r1_interval)
    penalised, plain = (len(throughput.recorded(run).calls) for run in (step.penalised, step.plain))
    assert penalised > plain > 0
    assert throughput.flops_of(step.plain) < step.mean(throughput.flops_of)


def test_memory_is_that_of_a_process_of_its_own(module):
    throughput = module("gan_throughput")
    given = SimpleNamespace(device="cpu", weights=None, batch=2, rival_batch=2)
    ballast = np.ones(3 * 2**27)  # 3 GiB, more than such a step needs
    assert 0 < throughput.memory_of("ours", 32, given) < ballast.nbytes / 2**20


def test_flops_are_those_that_torch_counts(module):
    throughput = module("gan_throughput")
    network = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(4 * 36, 2)
    )
    images = torch.zeros(2, 1, 8, 8)

    def run():
        network(images).sum().backward()

    with FlopCounterMode(display=False) as counter:
        run()
    assert throughput.flops_of(run) == counter.get_total_flops() > 0


@pytest.fixture
def serve_load(module):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("psutil")
    return module("serve_load")


def test_the_network_alone_is_all_of_the_network(serve_load):
    predictor = BundlePredictor.load(BUNDLE)
    side = predictor.description.preprocessing.image_size_px
    squares = np.random.default_rng(0).integers(0, 256, (2, side, side), np.uint8)
    looks, expected = serve_load.network_of(predictor, squares)(), predictor.outputs(squares)
    assert len(looks) == 1 + predictor.description.calibration.mirror_test
    logits = sum(logits for logits, _ in looks) / len(looks)
    np.testing.assert_allclose(logits.numpy(), expected.logits, atol=1e-6)
    np.testing.assert_allclose(looks[0][1].numpy(), expected.features, atol=1e-6)
    assert all(logits.is_inference() for logits, _ in looks)


class FakeClient:
    """Most answers are refusals, which are much faster."""

    def __init__(self, **_):
        self.statuses = itertools.cycle((200, 503, 503))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def post(self, *_, **__):
        status = next(self.statuses)
        time.sleep(0.02 if status == 200 else 0)
        return SimpleNamespace(status_code=status)


def test_only_answers_have_a_latency(serve_load, monkeypatch):
    monkeypatch.setattr(serve_load.httpx, "Client", FakeClient)
    found = serve_load.load(SimpleNamespace(address=""), [b""], 1, 0.2)
    assert found["p50_ms"] >= 20
    assert found["requests"] == found["status_200"] + found["status_503"]
