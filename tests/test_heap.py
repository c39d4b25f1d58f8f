"""Large blocks stay with the process while it works, and only then."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sonobalance import heap

PROBE = """
import resource
from sonobalance.heap import large_blocks_kept
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def worked():
    before = faults()
    for _ in range(20):
        bytearray(64 * 2**20)
    return faults() - before
def held():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
worked()
usual = worked()
with large_blocks_kept():
    worked()
    with large_blocks_kept():
        inner = worked()
    kept, inside = worked(), held()
print(usual, inner, kept, inside, held(), worked())
"""


def probe(**environment: str) -> list[float]:
    command = [sys.executable, "-c", PROBE]
    found = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | environment
    )
    return [float(value) for value in found.stdout.split()]


@pytest.mark.skipif(heap._glibc() is None, reason="needs glibc with thresholds of its own")
def test_freed_blocks_are_used_again_inside_and_given_back_after() -> None:
    usual, inner, kept, inside, after, outside = probe()
    assert usual > 10_000, "the system's pages are faulted in anew each time"
    assert max(inner, kept) < usual / 20
    assert inside - after > 50, "MiB"
    assert outside > 10_000


@pytest.mark.skipif(not Path("/proc/self/statm").is_file(), reason="needs Linux")
def test_thresholds_of_the_environment_are_left_alone() -> None:
    usual, inner, kept, *_ = probe(MALLOC_MMAP_THRESHOLD_="100000000", MALLOC_TRIM_THRESHOLD_="0")
    assert min(inner, kept) > usual / 2


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "_glibc", lambda: None)
    with heap.large_blocks_kept():
        assert heap._inside == [0]


def test_an_error_inside_gives_back_all_the_same() -> None:
    with pytest.raises(ValueError, match="x"), heap.large_blocks_kept():
        raise ValueError("x")
    assert heap._inside == [0]
