"""Large tensors get memory that the process holds already, not new pages from the system.

glibc hands every block above a threshold back to the system as soon as it is free (malloc(3),
M_MMAP_THRESHOLD), and the next batch asks for the same blocks again: each of their pages is then
faulted in and zeroed anew. Of a classifier's work on a CPU that is a sixth to a quarter in training
and half in prediction (`benchmarks/heap.py`); a GAN of 128 px has no tensors of that size.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_TRIM, _MMAP = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
_KEPT = {_MMAP: 2**30, _TRIM: 2**31 - 1}
_USUAL = {_MMAP: 2**25, _TRIM: 2**26}  # where glibc arrives by itself once large blocks were freed
_OWN = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_", "GLIBC_TUNABLES")

_inside = [0]  # how many `large_blocks_kept` the process is in


@contextmanager
def large_blocks_kept() -> Iterator[None]:
    """Keep freed blocks for the next step while inside, and give them back at the end.

    Of the whole process; nests. Does nothing without glibc, or where the environment sets its
    thresholds.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    if not _inside[0]:
        _set(libc, _KEPT)
    _inside[0] += 1
    try:
        yield
    finally:
        _inside[0] -= 1
        if not _inside[0]:
            _set(libc, _USUAL)
            libc.malloc_trim(0)


def _set(libc: ctypes.CDLL, thresholds: dict[int, int]) -> None:
    for parameter, value in thresholds.items():
        libc.mallopt(parameter, value)


@cache
def _glibc() -> ctypes.CDLL | None:
    """The C library where its thresholds are ours to set."""
    if sys.platform != "linux" or any(name in os.environ for name in _OWN):
        return None
    libc = ctypes.CDLL(None)
    known = all(hasattr(libc, name) for name in ("mallopt", "malloc_trim", "gnu_get_libc_version"))
    return libc if known else None
