"""Units in several processes of this machine; all of them use its first GPU, if it has one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.context import BaseContext
from threading import Thread

import torch
from threadpoolctl import threadpool_limits

from sonobalance.comparison.external import External
from sonobalance.comparison.units import Unit
from sonobalance.comparison.work import perform
from sonobalance.environment import cores
from sonobalance.errors import InputError, SonobalanceError
from sonobalance.progress import console, hide_bars

IMPORTED = (  # what units work with; stages import it when they begin
    "sonobalance.comparison.work", "sonobalance.growing", "sonobalance.gan.train",
    "sonobalance.classify.train", "sonobalance.classify.frozen", "sonobalance.classify.predict",
)  # fmt: skip


def perform_in_processes(
    units: Sequence[Unit], external: External | None = None, *, cpus_per_unit: int = 1
) -> Iterator[Unit]:
    """Do prepared units, as many at a time as the cores allow, yielding each when it is finished.

    An arm waits for the GAN it builds on.

    Args:
        units: prepared; GANs before their arms.
        external: see `perform`.
        cpus_per_unit: threads of each process.

    Raises:
        InputError: a process was killed, or a unit found its input unusable.
    """
    workers = max(1, cores() // cpus_per_unit)
    left, running = list(units), dict[Future[str], Unit]()
    pool = ProcessPoolExecutor(  # a process per unit gives back all its memory, the GPU's too
        workers, worker_context(), _begin, (cpus_per_unit, dict(os.environ)), max_tasks_per_child=1
    )
    try:
        while left or running:
            for unit in _ready(left, running.values())[: workers - len(running)]:
                left.remove(unit)
                running[pool.submit(perform, unit.folder, unit.arm, external)] = unit
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                unit = running.pop(ended)
                if running and isinstance(error := ended.exception(), SonobalanceError):
                    console.print(f"{unit.title}: {error}", style="red")  # known before the wait
                ended.result()
                yield unit
    except (BrokenProcessPool, BrokenPipeError, torch.OutOfMemoryError):  # the pipe: at its birth
        raise InputError(
            "Expected every process to finish its unit, but one was killed or ran out of memory; "
            "repeat the command, which goes on where it stopped, with more --unit-cpus."
        ) from None
    finally:
        if running:
            console.print(f"Waiting for {len(running)} units that are under way.")
        pool.shutdown(cancel_futures=True)


def _ready(left: Sequence[Unit], running: Iterable[Unit]) -> list[Unit]:
    """Those whose GAN is not still to come."""
    coming = {unit.folder for unit in (*left, *running)}
    return [unit for unit in left if unit.gan is None or unit.gan.folder not in coming]


def worker_context() -> BaseContext:
    """New processes are forked from one that has done nothing but import, which takes seconds."""
    if sys.platform != "linux":  # elsewhere libraries of the system do not bear a fork
        return get_context("spawn")
    context = get_context("forkserver")
    context.set_forkserver_preload([*IMPORTED])
    return context


def _begin(threads: int, environment: dict[str, str]) -> None:
    """A process works with so many threads, and without bars that would cross those of others."""
    os.environ.update(environment)  # it was forked from one that may be older
    torch.set_num_threads(threads)
    threadpool_limits(threads)  # of the linear algebra behind NumPy and scikit-learn
    hide_bars()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Without the benchmark nobody waits for the unit; what it has finished lies in its folder."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
