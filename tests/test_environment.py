"""What is noted about the machine."""

from __future__ import annotations

import subprocess
import sys

import torch

from sonobalance.environment import environment
from sonobalance.precision import has_bf16

WITHOUT_TORCH = (
    "import sys; from sonobalance.environment import environment; found = environment(); "
    "assert 'torch' not in sys.modules; assert 'instructions' not in found; "
    "assert found['processor']"
)


def test_the_hardware_that_decides_speed_is_named() -> None:
    found = environment()
    assert found["processor"]
    assert found["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert found["bfloat16"] is has_bf16(torch.device("cpu"))
    assert found["cores"] >= 1


def test_torch_is_not_loaded_to_note_the_machine() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()


def test_the_memory_of_who_started_a_process_is_not_its_own() -> None:
    ballast = bytearray(2**30)
    ballast[::4096] = b"x" * (2**30 // 4096)
    code = "from sonobalance.environment import peak_memory_mib as peak; print(peak())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert 0 < float(run.stdout) < len(ballast) / 2**20
