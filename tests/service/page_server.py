"""A server process for the tests of the page and of its end."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import urlopen

BUNDLE = Path(__file__).parents[1] / "deployment" / "frozen_v1.zip"
START_SECONDS = 120


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(*options: str, bundle: Path = BUNDLE) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address and process of `sonobalance serve`, once it is ready."""
    port = free_port()
    folder = tempfile.TemporaryDirectory()
    log = Path(folder.name) / "log"
    with log.open("w") as handle:
        process = subprocess.Popen(
            [sys.executable, "-m", "sonobalance", "serve", str(bundle), "--port", str(port),
             *options], stdout=handle, stderr=handle, text=True,
        )  # fmt: skip
    process.log = log  # type: ignore[attr-defined]
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and process.poll() is None:
            with suppress(OSError), urlopen(f"{address}/ready", timeout=2):  # noqa: S310
                break
            time.sleep(0.2)
        yield address, process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        folder.cleanup()
