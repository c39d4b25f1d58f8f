"""The service under load and under attack, on this machine's loopback only.

    python benchmarks/serve_load.py BUNDLE --out docs/results/serve-load.json --minutes 10

1. Latency and throughput at 1, 8 and 32 clients, beside bare torch and bare onnxruntime on the
   same images in the same run.
2. Minutes of good, broken, huge and hostile uploads: a seeded corpus of malformed images, DICOMs
   and ZIPs, and requests that schemathesis makes from the OpenAPI document; a decoder is killed on
   the way and wrong tokens are tried throughout. Counted: statuses, 5xx other than 503, wrong
   tokens that passed, growth of the resident memory after a warm-up.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import psutil
import torch
from uploads import corpus, phantoms

from sonobalance.data.loading import to_unit
from sonobalance.deployment.folded import folded
from sonobalance.deployment.onnx_export import export_onnx_file
from sonobalance.deployment.predictor import BundlePredictor, Squares
from sonobalance.environment import environment
from sonobalance.files import write_json

TOKEN = secrets.token_hex(16)
GOOD = {"Authorization": f"Bearer {TOKEN}"}
WARM_UP_SHARE = 0.3


class Server:
    """A service process, ready to be asked."""

    def __init__(self, bundle: Path, folder: Path, *options: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (folder / "token").write_text(TOKEN)
        self.log = (folder / "log").open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sonobalance", "serve", str(bundle), "--port", str(self.port),
             "--token-file", str(folder / "token"), "--requests-per-minute", "0", *options],
            stdout=self.log, stderr=self.log,
        )  # fmt: skip
        self.address = f"http://127.0.0.1:{self.port}"
        while True:
            try:
                if httpx.get(f"{self.address}/ready", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.5)
            assert self.process.poll() is None, (folder / "log").read_text()

    def memory(self) -> int:
        """Resident bytes of the service without its decoders, which are replaced now and then."""
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def kill_a_decoder(self) -> bool:
        """Kill one decoding process; whether there was one."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if "spawn_main" in " ".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)
                return True
        return False

    def close(self) -> int:
        """Ask it to end; its exit code."""
        self.process.terminate()
        code = self.process.wait(60)
        self.log.close()
        return code


def load(server: Server, good: list[bytes], clients: int, seconds: float) -> dict[str, float]:
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    end = time.perf_counter() + seconds

    def client(number: int) -> None:
        with httpx.Client(base_url=server.address, headers=GOOD, timeout=60) as http:
            i = number
            while time.perf_counter() < end:
                begin = time.perf_counter()
                status = http.post("/predict", content=good[i % len(good)]).status_code
                statuses[status] += 1
                if status == 200:
                    latencies.append(time.perf_counter() - begin)
                i += 1

    begin = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    wall = time.perf_counter() - begin
    assert latencies, f"no answer but {dict(statuses)}"
    ordered = sorted(latencies)
    return {
        "clients": clients, "requests": statuses.total(), "images_per_second": statuses[200] / wall,
        "p50_ms": 1000 * statistics.median(ordered),
        "p99_ms": 1000 * ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        **{f"status_{code}": n for code, n in sorted(statuses.items())},
    }  # fmt: skip


def network_of(predictor: BundlePredictor, squares: Squares) -> Callable[[], object]:
    """A function that runs what `predictor.outputs` runs of the network, and nothing else."""
    model = folded(predictor.model, predictor.description.preprocessing.image_size_px)
    unit = to_unit(torch.from_numpy(squares)[:, None])
    looks = [unit, unit.flip(3)] if predictor.description.calibration.mirror_test else [unit]

    def run() -> object:
        with torch.inference_mode():
            return [model.logits_and_features(images) for images in looks]

    return run


def bare(bundle: Path, folder: Path, seconds: float) -> dict[str, float]:
    """Images per second of the network alone on tensors that are ready, batch 8: torch, ONNX."""
    predictor = BundlePredictor.load(bundle)
    export_onnx_file(predictor, folder / "model.onnx")
    side = predictor.description.preprocessing.image_size_px
    squares = np.random.default_rng(0).integers(0, 256, (8, side, side), np.uint8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(folder / "model.onnx", options)
    pixels = squares[:, None].astype(np.float32)
    works = {
        "torch": network_of(predictor, squares),
        "onnxruntime": lambda: session.run(["probabilities"], {"pixels": pixels}),
    }
    out = {}
    for name, work in works.items():
        work()
        begin, rounds = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            work()
            rounds += 1
        out[name] = 8 * rounds / (time.perf_counter() - begin)
    return out


def attack(server: Server, good: list[bytes], minutes: float) -> dict[str, object]:
    hostile = corpus(good)
    statuses: Counter[str] = Counter()
    memory: list[int] = []
    passed = killed = 0
    end = time.monotonic() + 60 * minutes
    stop = threading.Event()

    def send(number: int) -> None:
        rng = random.Random(number)
        with httpx.Client(base_url=server.address, timeout=120) as http:
            while not stop.is_set():
                nonlocal passed
                kind = rng.random()
                path = rng.choice(("/predict", "/predict?preview=true", "/explain"))
                content = rng.choice(good) if kind < 0.3 else rng.choice(hostile)
                if kind > 0.97:
                    content = bytes(rng.randint(16, 24) * 2**20)
                try:
                    if rng.random() < 0.1:
                        wrong = {"Authorization": f"Bearer {TOKEN[:-1]}{rng.choice('ghij')}"}
                        passed += http.post(path, content=content, headers=wrong).status_code != 401
                        continue
                    files = {"file": ("x", content)} if rng.random() < 0.3 else None
                    sent = {"files": files} if files else {"content": content}
                    statuses[str(http.post(path, headers=GOOD, **sent).status_code)] += 1
                except httpx.TransportError:
                    statuses["closed early"] += 1  # the service answers 413 and hangs up

    threads = [threading.Thread(target=send, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    fuzz = subprocess.Popen(
        schemathesis(server), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while time.monotonic() < end:
        time.sleep(min(5, 6 * minutes))
        memory.append(server.memory())
        if len(memory) % 12 == 5:
            killed += server.kill_a_decoder()
    stop.set()
    for thread in threads:
        thread.join()
    fuzz.terminate()
    fuzz.wait()
    warm = memory[int(WARM_UP_SHARE * len(memory)) :]
    third = max(1, len(warm) // 3)
    first, last = statistics.median(warm[:third]), statistics.median(warm[-third:])
    return {
        "minutes": minutes, "malformed_files": len(hostile), "statuses": dict(statuses),
        "server_errors_besides_503": sum(
            n for code, n in statuses.items() if code.startswith("5") and code != "503"
        ),
        "wrong_tokens_passed": passed, "decoders_killed": killed,
        "memory_after_warm_up_mib": first / 2**20, "memory_at_end_mib": last / 2**20,
        "memory_growth": last / first - 1, "memory_mib": [round(m / 2**20, 1) for m in memory],
        "still_ready": httpx.get(f"{server.address}/ready", timeout=30).status_code == 200,
        "unexpected_in_log": Path(server.log.name).read_text().count("unexpected"),
    }  # fmt: skip


def schemathesis(server: Server, examples: int = 60) -> list[str]:
    return [
        sys.executable, "-m", "schemathesis.cli", "run", f"{server.address}/openapi.json",
        "--header", f"Authorization: Bearer {TOKEN}", "--request-timeout", "60", "--seed", "0",
        "--checks", "not_a_server_error,response_schema_conformance,content_type_conformance",
        "--max-examples", str(examples),
    ]  # fmt: skip


def from_document(server: Server, examples: int) -> dict[str, object]:
    """One whole run of schemathesis; 503 is an intended answer, any other 5xx is a failure."""
    environ = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        schemathesis(server, examples), capture_output=True, text=True, check=False, env=environ
    )
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return {"exit_code": done.returncode, "last_lines": lines[-12:]}


def say(phase: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {phase}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=20, help="of each load")
    parser.add_argument("--examples", type=int, default=60, help="of schemathesis, per route")
    given = parser.parse_args()
    good = phantoms(48)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        server = Server(given.bundle, folder)
        say("load")
        load(server, good, 2, given.seconds / 2)  # warm
        loads = [load(server, good, clients, given.seconds) for clients in (1, 8, 32)]
        say("bare")
        alone = bare(given.bundle, folder, given.seconds / 2)
        say("schemathesis")
        document = from_document(server, given.examples)
        say("soak")
        soak = attack(server, good, given.minutes)
        model = httpx.get(f"{server.address}/model", headers=GOOD, timeout=30).json()
        code = server.close()
    best = max(row["images_per_second"] for row in loads)
    result = {
        "command": f"python benchmarks/serve_load.py BUNDLE --minutes {given.minutes:g} "
        f"--seconds {given.seconds:g} --out docs/results/{given.out.name}",
        "bundle": model["description"]["name"], "network": model["description"]["network"],
        "load": loads, "bare_images_per_second": alone,
        "best_over_bare_torch": best / alone["torch"], "schemathesis": document, "soak": soak,
        "exit_code_after_sigterm": code, "load_average": os.getloadavg(),
        "environment": environment(),
    }  # fmt: skip
    write_json(given.out, result)
    print(json.dumps({k: v for k, v in result.items() if k != "environment"}, indent=1))


if __name__ == "__main__":
    main()
