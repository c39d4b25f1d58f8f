"""The benchmark in several processes: the same numbers, and sentences when something goes wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from tiny_benchmark import TINY

from sonobalance import api
from sonobalance.comparison.benchmark import _longest_first
from sonobalance.comparison.processes import perform_in_processes
from sonobalance.comparison.protocol import Protocol, folds_of
from sonobalance.comparison.units import Unit, units_of
from sonobalance.comparison.work import prepare
from sonobalance.config import Settings
from sonobalance.data.phantoms import make_phantoms
from sonobalance.errors import InputError
from sonobalance.runs import open_run

pytestmark = pytest.mark.slow
ARMS = ("none", "dual-iterative")


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_phantoms(tmp_path_factory.mktemp("data") / "phantoms", images=90, size_px=32)


def prepared(phantoms: Path, out: Path) -> list[Unit]:
    settings = Settings.model_validate(TINY | {"arms": list(ARMS), "device": "cpu"})
    api.split(api.audit(phantoms, out=out / "base", audit=settings.audit).parent)
    base = open_run(out / "base")
    base.settings = settings
    units = list(units_of(base, folds_of(base, Protocol(folds=2))[:1], ARMS))
    for unit in units:
        prepare(unit, base)
    return units


def test_processes_change_no_number(phantoms: Path, tmp_path: Path) -> None:
    settings = Settings.model_validate(TINY | {"arms": list(ARMS), "device": "cpu"})
    documents = []
    for executor in ("local", "processes"):
        path = api.benchmark(
            phantoms, out=tmp_path / executor, folds=2, settings=settings,
            executor=executor,  # type: ignore[arg-type]
        )  # fmt: skip
        documents.append(json.loads(path.read_text()))
    one, other = documents
    assert one["arms"] == other["arms"]
    assert one["paired"] == other["paired"]
    assert one["protocol"]["environments"] == other["protocol"]["environments"] != []


def test_a_killed_process_is_told_in_a_sentence_and_its_unit_done_again(
    phantoms: Path, tmp_path: Path
) -> None:
    units = prepared(phantoms, tmp_path / "out")
    before = spawned()

    def kill_one() -> None:
        while not (workers := spawned() - before):
            time.sleep(0.02)
        os.kill(min(workers), signal.SIGKILL)

    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    with pytest.raises(InputError, match="repeat the command"):
        list(perform_in_processes(units))
    killer.join()

    done = [unit.folder for unit in perform_in_processes(units)]
    assert set(done) == {unit.folder for unit in units}
    for unit in units:
        if unit.gan:
            assert done.index(unit.gan.folder) < done.index(unit.folder)


def test_generators_come_first_since_they_take_longest(phantoms: Path, tmp_path: Path) -> None:
    units = prepared(phantoms, tmp_path / "out")
    assert [unit.arm for unit in units] == ["none", None, "dual-iterative"]
    order = [unit.arm for unit in _longest_first(iter)(units)]
    assert order == [None, "none", "dual-iterative"]


def test_a_unit_that_was_prepared_takes_up_other_places(phantoms: Path, tmp_path: Path) -> None:
    unit = prepared(phantoms, tmp_path / "out")[0]
    classifier = unit.settings.classifier.model_copy(update={"devices": 2})
    moved = replace(unit, settings=unit.settings.model_copy(update={"classifier": classifier}))
    prepare(moved, open_run(tmp_path / "out" / "base"))
    assert open_run(unit.folder).settings.classifier.devices == 2


def test_an_unusable_unit_says_so_in_our_own_words(phantoms: Path, tmp_path: Path) -> None:
    units = prepared(phantoms, tmp_path / "out")
    (units[0].folder / "run.json").unlink()
    with pytest.raises(InputError, match="Expected a run folder"):
        list(perform_in_processes(units[:1]))


def test_no_process_outlives_a_killed_benchmark(phantoms: Path, tmp_path: Path) -> None:
    words = ["--folds", "2", "--arms", "none", "--executor", "processes", "--preset", "demo"]
    command = [sys.executable, "-m", "sonobalance", "benchmark", str(phantoms)]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path / "out"), *words], stderr=subprocess.DEVNULL
    ) as benchmark:
        while not list((tmp_path / "out").glob("units/*/classifier/*/stats.jsonl")):
            assert benchmark.poll() is None
            time.sleep(0.05)
        children = psutil.Process(benchmark.pid).children(recursive=True)
        benchmark.kill()
    assert children
    assert not psutil.wait_procs(children, timeout=30)[1]


def spawned() -> set[int]:
    """Workers that are alive: children of the process that they are forked from."""
    found = set()
    for child in psutil.Process().children():
        with suppress(psutil.Error):  # it has ended meanwhile
            if "forkserver" in " ".join(child.cmdline()):
                found |= {worker.pid for worker in child.children()}
    return found
