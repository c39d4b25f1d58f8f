"""Versions and hardware of the machine that a run was made on."""

from __future__ import annotations

import os
import platform
import resource
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sonobalance.version import __version__

PACKAGES = (
    "torch", "torchvision", "timm", "captum", "numpy", "scipy", "scikit-learn", "pandas",
    "pillow", "opencv-python-headless",
)  # fmt: skip


def environment() -> dict[str, Any]:
    """Versions and hardware, the accelerator where torch is in use; names no user or machine."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {
        "sonobalance": __version__,
        "python": platform.python_version(),
        **{name: package_version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": processor(),
        "cores": cores(),
        "memory_gib": round(pages * page / 2**30, 1),
        **(_seen_by_torch() if "torch" in sys.modules else {}),
    }


def cores() -> int:
    """How many cores this process may use: of the machine, its affinity and its container."""
    from joblib import cpu_count  # noqa: PLC0415 - half a second

    return int(cpu_count())


def processor() -> str:
    """The model of the processor as the system names it, or `unknown`."""
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(errors="replace").splitlines() if listing.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or "unknown"


def peak_memory_mib() -> float:
    """The most memory that this process has held, in MiB.

    Linux counts what a process held before it became another program as `ru_maxrss`, too, and with
    it the memory of whoever started it; `VmHWM` does not.
    """
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    kibibytes = (int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return next(kibibytes, whole / 1024 if sys.platform == "darwin" else whole) / 1024


def _seen_by_torch() -> dict[str, Any]:
    """What decides speed and the last digits: instructions, bfloat16 convolutions, accelerator."""
    import torch  # noqa: PLC0415 - takes seconds

    from sonobalance.precision import has_bf16  # noqa: PLC0415 - imports torch

    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": has_bf16(torch.device("cpu")),
        "accelerator": accelerator(),
    }


def accelerator() -> str:
    """Name of the first CUDA device, or `none`; imports torch."""
    import torch  # noqa: PLC0415 - takes seconds

    return str(torch.cuda.get_device_name(0)) if torch.cuda.is_available() else "none"


def package_version(name: str) -> str:
    """The installed version of a package, or `absent`."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
