"""The same work on many items by a few threads, without threads below threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

from threadpoolctl import threadpool_limits

from sonobalance.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")


def on_each(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int, title: str
) -> list[Result]:
    """`work` on every item, in the items' order, by `workers` threads with a progress bar.

    Each worker's small matrix products stay in its own thread: when BLAS adds threads of its own
    they wait for each other by spinning, which took forty times the processor time.

    Raises:
        BaseException: what the first failing item raised, or an interruption; items that no worker
            has begun are left undone.
    """
    pool = ThreadPoolExecutor(workers)
    try:
        with threadpool_limits(1):
            waiting = [pool.submit(copy_context().run, work, item) for item in items]
            return [job.result() for job in track(waiting, title, len(waiting))]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
