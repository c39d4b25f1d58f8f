"""Images per second from a generator bundle, without and with gates.

    python benchmarks/sampling_speed.py RUN --class malignant --out docs/results/sampling-speed.json

RUN is a run folder or bundle. Writing the PNG files is included, loading the bundle is not.
Processor time counts all threads together.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from sonobalance.files import write_json
from sonobalance.runs import environment
from sonobalance.synthesis.drawing import Request, draw_images
from sonobalance.synthesis.generator_bundle import open_generator_bundle


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--class", dest="label", required=True)
    parser.add_argument("--n", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/sampling-speed.json"))
    return parser.parse_args()


def main() -> None:
    given = arguments()
    torch.set_num_threads(given.threads)
    bundle = open_generator_bundle(given.bundle)
    rows = {}
    for name, gates, n in (("without_gates", False, given.n), ("with_gates", True, given.n // 20)):
        with tempfile.TemporaryDirectory() as folder:
            wall, processor = time.perf_counter(), time.process_time()
            request = Request(given.label, n, gates=gates, tries=20)
            document = draw_images(bundle, request, Path(folder))
            rows[name] = {
                "images": document["accepted"],
                "candidates": document["made"],
                "candidates_per_second": document["made"] / (time.perf_counter() - wall),
                "candidates_per_processor_second": document["made"]
                / (time.process_time() - processor),
            }
    write_json(given.out, {
        "command": "python benchmarks/sampling_speed.py RUN --class malignant",
        "size_px": bundle.sampler.image_size_px,
        "threads": given.threads,
        **rows,
        "environment": environment(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
