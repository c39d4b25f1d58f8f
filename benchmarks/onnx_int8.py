"""What ONNX and its 8-bit form cost in accuracy and gain in speed, on the TEST part of a run.

    python benchmarks/onnx_int8.py BUNDLE RUN --out docs/results/onnx-int8.json

BUNDLE was made from RUN. Accuracy, mean log-loss and the largest change of a probability against
torch; images per second of processor time with one thread, as medians over alternating rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from sonobalance import runs
from sonobalance.artefacts import splits_of
from sonobalance.data.loading import load_images
from sonobalance.deployment.onnx_export import INPUT, OUTPUTS, export_onnx_file, quantised_file
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.environment import environment
from sonobalance.files import write_json

BATCH = 16
Ask = Callable[[NDArray[np.uint8]], NDArray[np.floating]]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    predictor, run = BundlePredictor.load(given.bundle), runs.open_run(given.run)
    side = predictor.description.preprocessing.image_size_px
    test = load_images(splits_of(run).of("test"), side, predictor.classes, "TEST")
    squares, truth = test.pixels[:, 0].numpy(), np.asarray(test.targets)
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "model.onnx", Path(folder) / "int8.onnx"
        export_onnx_file(predictor, whole)
        quantised_file(whole, small)
        forms = compared({
            "torch": lambda x: predictor.outputs(x).probabilities,
            "onnx": session_of(whole),
            "onnx-int8": session_of(small),
        }, squares, truth, given.rounds)  # fmt: skip
        for name, path in (("onnx", whole), ("onnx-int8", small)):
            forms[name]["mib"] = path.stat().st_size / 2**20
    write_json(given.out, {
        "command": f"python benchmarks/onnx_int8.py BUNDLE RUN --out docs/results/{given.out.name}",
        "bundle": predictor.description.name, "data": run.source.name, "part": "TEST",
        "images": len(squares), "image_size_px": side,
        "backbone": predictor.description.network.backbone, "threads": 1, "forms": forms,
        "environment": environment(),
    })  # fmt: skip
    print(forms)


def session_of(path: Path) -> Ask:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda squares: session.run([OUTPUTS[0]], {INPUT: squares[:, None].astype(np.float32)})[
        0
    ]


def compared(
    asks: dict[str, Ask], squares: NDArray[np.uint8], truth: NDArray[np.int64], rounds: int
) -> dict[str, dict[str, float]]:
    """Form → accuracy, log-loss, largest difference from the first form, images per second."""
    found = {name: ask(squares) for name, ask in asks.items()}
    seconds: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(rounds):
        for name, ask in asks.items():
            start = time.process_time()
            ask(squares[:BATCH])
            seconds[name].append(time.process_time() - start)
    first, rows = next(iter(found.values())), np.arange(len(truth))
    return {
        name: {
            "accuracy": float((p.argmax(1) == truth).mean()),
            "log_loss": float(-np.log(np.maximum(p[rows, truth], 1e-12)).mean()),
            "largest_difference": float(np.abs(p - first).max()),
            "images_per_second": min(BATCH, len(squares)) / statistics.median(seconds[name]),
        }
        for name, p in found.items()
    }


if __name__ == "__main__":
    main()
