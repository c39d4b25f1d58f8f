"""What is installed, which device will be used, and what is wrong, in words."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from sonobalance.environment import accelerator, environment, package_version
from sonobalance.progress import console

EXTRAS = {"pydicom": "dicom", "pyarrow": "parquet"}
NEEDED_DISK_GIB = 2.0
NEEDED_MEMORY_GIB = 5.0  # docs/results/busi-run.json took 3.1, and the system wants some


@dataclass(frozen=True)
class Check:
    """One line of the diagnosis: `level` is `ok`, `note` or `wrong`."""

    name: str
    level: str
    text: str


def examine(folder: Path) -> list[Check]:
    """Every check, for a run written below `folder`."""
    checks: list[Callable[[], Check]] = [_torch, _torchvision, _device, _memory]
    return [*(check() for check in checks), _disk(folder), *_extras(), _writable(folder)]


def _torch() -> Check:
    try:
        import_module("torch")
    except Exception as error:  # noqa: BLE001 - a broken binary raises anything
        return Check("torch", "wrong", f"torch does not import ({error}); install it again.")
    return Check("torch", "ok", f"torch {package_version('torch')}")


def _torchvision() -> Check:
    try:
        import_module("torchvision")
    except Exception as error:  # noqa: BLE001 - a mismatched wheel raises RuntimeError
        return Check(
            "torchvision", "wrong",
            f"torchvision {package_version('torchvision')} does not fit torch "
            f"{package_version('torch')} ({error}); install the matching pair from one index.",
        )  # fmt: skip
    return Check("torchvision", "ok", f"torchvision {package_version('torchvision')}")


def _device() -> Check:
    try:
        torch = import_module("torch")
        available = torch.cuda.is_available()
    except Exception as error:  # noqa: BLE001 - torch itself is broken
        return Check("device", "wrong", f"no device can be found ({error}).")
    if available:
        return Check("device", "ok", f"CUDA: {accelerator()}")
    threads = torch.get_num_threads()
    return Check("device", "note", f"no CUDA; the CPU is used with {threads} threads.")


def _memory() -> Check:
    found = environment()["memory_gib"]
    level = "ok" if found >= NEEDED_MEMORY_GIB else "wrong"
    return Check("memory", level, f"{found} GiB; the cpu preset needs {NEEDED_MEMORY_GIB} GiB.")


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(_existing(folder)).free / 2**30
    level = "ok" if free >= NEEDED_DISK_GIB else "wrong"
    text = f"{free:.1f} GiB free at {folder}; a run needs about {NEEDED_DISK_GIB} GiB."
    return Check("disk", level, text)


def _extras() -> list[Check]:
    out = []
    for package, extra in EXTRAS.items():
        found = package_version(package)
        if found == "absent":
            text = f"not installed; needed for the extra [{extra}] only."
            out.append(Check(package, "note", text))
        else:
            out.append(Check(package, "ok", f"{package} {found}"))
    return out


def _writable(folder: Path) -> Check:
    place = _existing(folder)
    if os.access(place, os.W_OK):
        return Check("folder", "ok", f"{place} can be written.")
    return Check("folder", "wrong", f"{place} cannot be written; choose another folder.")


def _existing(folder: Path) -> Path:
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    return folder


def diagnose(folder: Path) -> int:
    """Print every check on standard error; returns 1 when something is wrong, else 0."""
    styles = {"ok": "green", "note": "yellow", "wrong": "bold red"}
    checks = examine(folder)
    for check in checks:
        console.print(f"{check.level:>5}", style=styles[check.level], end=" ")
        console.print(f"{check.name}: {check.text}")
    wrong = sum(check.level == "wrong" for check in checks)
    console.print("Nothing is wrong." if not wrong else f"{wrong} thing(s) to mend, see above.")
    return int(bool(wrong))
