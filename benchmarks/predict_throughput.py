"""How much of the bare network's speed `predict BUNDLE` keeps, files included, in one process.

    python benchmarks/predict_throughput.py BUNDLE IMAGES --out docs/results/predict-throughput.json

Rounds of three alternate, so that other load on the machine meets all alike: the bare timm network
(no gates, no lesion head, no files) on tensors that are ready, doing as many forward passes per
image as the bundle; the bundle's own network on the same tensors; and everything from file to row.
Ratios are of wall time and of processor time, as medians over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray

from sonobalance.deployment.batch import find_files, predict_files, read_frames
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.environment import environment
from sonobalance.files import write_json

BATCH = 16


def timed(work: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def one_square(path: Path, side: int) -> NDArray[np.uint8]:
    square = read_frames(path, side, 1)[0].square
    if square is None:
        sys.exit(f"Expected an image in {path}, but it cannot be read.")
    return square


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    predictor = BundlePredictor.load(given.bundle)
    side = predictor.description.preprocessing.image_size_px
    files = find_files([given.images])[: given.count]
    squares = np.stack([one_square(path, side) for path in files])
    networks = 1 + len(predictor.model.partners)
    passes = networks * (2 if predictor.description.calibration.mirror_test else 1)
    bare = timm.create_model(predictor.description.network.backbone, num_classes=3).eval()
    bare = bare.to(memory_format=torch.channels_last)
    unit = torch.from_numpy(squares)[:, None].float() / 127.5 - 1
    ready = unit.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)

    def network_alone() -> None:
        with torch.inference_mode():
            for part in ready.split(BATCH):
                for _ in range(passes):
                    bare(part)

    def bundle_network() -> None:
        for start in range(0, len(squares), BATCH):
            predictor.outputs(squares[start : start + BATCH])

    def files_to_rows() -> None:
        list(predict_files(predictor, files, batch_size=BATCH))

    works = {"bare": network_alone, "network": bundle_network, "predict": files_to_rows}
    for work in works.values():
        work()
    rounds = [{name: timed(work) for name, work in works.items()} for _ in range(given.rounds)]

    def ratio(name: str, kind: int) -> float:
        return statistics.median(row["bare"][kind] / row[name][kind] for row in rounds)

    result = {
        "command": f"python benchmarks/predict_throughput.py BUNDLE IMAGES --count {len(files)} "
        f"--rounds {given.rounds} --out docs/results/{given.out.name}",
        "bundle": predictor.description.name, "backbone": predictor.description.network.backbone,
        "image_size_px": side, "images": len(files), "batch_size": BATCH,
        "networks": networks, "forward_passes_per_image": passes,
        "threads": torch.get_num_threads(),
        "images_per_second": {
            name: statistics.median(len(files) / row[name][0] for row in rounds) for name in works
        },
        "predict_over_bare": {"wall": ratio("predict", 0), "processor": ratio("predict", 1)},
        "network_over_bare": {"wall": ratio("network", 0), "processor": ratio("network", 1)},
        "rounds": [
            {name: {"wall": w, "processor": c} for name, (w, c) in row.items()} for row in rounds
        ],
        "environment": environment(),
    }  # fmt: skip
    write_json(given.out, result)
    print(result["images_per_second"], result["predict_over_bare"], result["network_over_bare"])


if __name__ == "__main__":
    main()
