"""The process: it ends when told to, after it has answered, and replaces what is killed."""

from __future__ import annotations

import signal
import socket
import threading
import time

import httpx
import psutil
import pytest
from page_server import BUNDLE, serving

from sonobalance import api
from sonobalance.config import ServiceSettings
from sonobalance.errors import InputError


def open_connections(pid: int) -> int:
    """How many clients a server is connected to."""
    found = psutil.Process(pid).net_connections()
    return sum(one.status == psutil.CONN_ESTABLISHED for one in found)


def test_killed_decoders_are_replaced_and_the_end_is_graceful(png):
    """One server for both, because starting it takes seconds."""
    content = png(1500, 1500)
    with serving("--requests-per-minute", "0", "--decoders", "1") as (address, process):
        assert httpx.post(f"{address}/predict", content=content).status_code == 200
        children = psutil.Process(process.pid).children(recursive=True)
        decoders = [child for child in children if "spawn_main" in " ".join(child.cmdline())]
        assert len(decoders) == 1
        decoders[0].kill()
        deadline = time.monotonic() + 60
        while httpx.post(f"{address}/predict", content=content, timeout=60).status_code != 200:
            assert time.monotonic() < deadline
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(
                httpx.post(f"{address}/predict", content=content, timeout=60).status_code
            )

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        while open_connections(process.pid) + len(statuses) < len(askers):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.3)  # the uploads have arrived, their images are being decoded
        process.send_signal(signal.SIGTERM)
        for asker in askers:
            asker.join(60)
        assert process.wait(60) == 0
        assert statuses == [200] * 4
        log = process.log.read_text()
        assert "POST /predict 200" in log
        assert "127.0.0.1" not in log.partition("Ctrl-C")[2]


def test_a_taken_port_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"{port}, but .*another --port"):
            api.serve(BUNDLE, service=ServiceSettings(port=port))
