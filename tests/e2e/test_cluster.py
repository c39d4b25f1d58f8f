"""The benchmark on a real Ray cluster of two workers, one of which is killed in the middle."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_benchmark import TINY

from sonobalance import api
from sonobalance.config import Settings
from sonobalance.data.phantoms import make_phantoms

ray = pytest.importorskip("ray", reason="needs the extra sonobalance[ray]")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::FutureWarning:ray"),
]
STORE_BYTES = 80 * 1024 * 1024
SMALL = TINY | {"arms": ["none", "dual-iterative"], "device": "cpu"}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else workers starve on a busy machine
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_a_killed_worker_changes_no_number(cluster, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    phantoms = make_phantoms(tmp_path / "phantoms", images=90, size_px=32)
    settings = Settings.model_validate(SMALL)
    alone = api.benchmark(phantoms, out=tmp_path / "alone", folds=2, seeds=1, settings=settings)

    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES) for _ in range(2)]
    out, killed = tmp_path / "spread", threading.Event()

    def kill_one_at_work() -> None:
        while not list(out.glob("units/*/predictions.csv")):
            time.sleep(0.02)
        assert not (out / "benchmark.json").exists()
        cluster.remove_node(nodes[0], allow_graceful=False)
        killed.set()

    killer = threading.Thread(target=kill_one_at_work, daemon=True)
    killer.start()
    spread = api.benchmark(phantoms, out=out, folds=2, seeds=1, executor="ray", settings=settings)
    killer.join()
    assert killed.is_set()
    assert left_alive(2)  # the head and the worker that is left

    one, other = (json.loads(path.read_text()) for path in (alone, spread))
    assert one["arms"] == other["arms"]
    assert one["paired"] == other["paired"]
    names = [{path.name for path in place.glob("units/*")} for place in (alone.parent, out)]
    assert names[0] == names[1]


def left_alive(nodes: int, patience_s: float = 60) -> bool:
    """Whether the cluster comes to count so many nodes; it notices a dead one with a delay."""
    until = time.monotonic() + patience_s
    while sum(node["Alive"] for node in ray.nodes()) != nodes and time.monotonic() < until:
        time.sleep(0.2)
    return sum(node["Alive"] for node in ray.nodes()) == nodes


def test_an_unusable_unit_says_so_in_our_own_words(cluster, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from sonobalance.comparison.cluster import perform_on_cluster
    from sonobalance.comparison.protocol import Protocol, folds_of
    from sonobalance.comparison.units import units_of
    from sonobalance.errors import InputError, SettingsError
    from sonobalance.runs import open_run

    cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
    phantoms = make_phantoms(tmp_path / "phantoms", images=60, size_px=32)
    settings = Settings.model_validate(SMALL | {"arms": ["none"]})
    out = tmp_path / "out"
    api.split(api.audit(phantoms, out=out / "base", audit=settings.audit).parent)
    base = open_run(out / "base")
    units = list(units_of(base, folds_of(base, Protocol(folds=5))[:1], ("none",)))
    with pytest.raises(InputError, match="Expected a run folder"):
        list(perform_on_cluster(units))  # never prepared
    with pytest.raises(SettingsError, match=r"--unit-cpus of at most 1, .* but got 2"):
        list(perform_on_cluster(units, cpus_per_unit=2))


def test_workers_that_are_lost_for_good_are_told_of_in_a_sentence() -> None:
    from types import SimpleNamespace

    from sonobalance.comparison.cluster import _sentence

    lost = ray.exceptions.WorkerCrashedError()
    told = str(_sentence(lost, SimpleNamespace(title="none seed0-fold1")))  # type: ignore[arg-type]
    assert "finish none seed0-fold1" in told
    assert "repeat the command" in told
