"""Work is done in order by a few threads, each with a BLAS of one thread."""

from __future__ import annotations

import time

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from sonobalance.data.audit.workers import on_each


def blas_threads(_: int) -> int:
    np.ones((2, 2)) @ np.ones((2, 2))
    return max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")


@pytest.mark.parametrize("workers", [1, 3])
def test_results_keep_the_order_of_the_items(workers: int) -> None:
    assert on_each(lambda k: k * k, range(50), workers, "squares") == [k * k for k in range(50)]


def test_blas_has_one_thread_at_work_and_its_own_number_afterwards() -> None:
    before = blas_threads(0)
    assert set(on_each(blas_threads, range(4), 2, "threads")) == {1}
    assert blas_threads(0) == before


def test_an_error_of_the_work_reaches_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        on_each(lambda k: 1 // k, [1, 0], 2, "division")


@pytest.mark.parametrize("stop", [ZeroDivisionError, KeyboardInterrupt])
def test_after_an_error_or_ctrl_c_no_more_items_are_begun(stop: type[BaseException]) -> None:
    begun: list[int] = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.02)
        if not item:
            raise stop

    with pytest.raises(stop):
        on_each(work, range(200), 2, "slow work")
    after = len(begun)
    time.sleep(0.1)
    assert len(begun) <= after + 2 < 100
