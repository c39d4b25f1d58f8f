"""What it is worth on a CPU to keep large blocks of memory from step to step (`heap.py`).

    python benchmarks/heap.py docs/results/heap-cpu.json

Processor time of one thread, which page faults count to, of work in processes of their own: one
after the other with freed blocks kept and returned to the system, as glibc does by itself. A ratio
is taken round by round; medians with the spread of the rounds, and the peak memory of a process.
Weights are random and images are noise. About ten minutes on an idle core.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from classifier_throughput import CPU, noise, our_step
from gan_throughput import ours_of, training

from sonobalance.classify.learner import new_learner
from sonobalance.classify.predict import model_logits
from sonobalance.config import ClassifierSettings
from sonobalance.environment import environment, peak_memory_mib
from sonobalance.files import write_json
from sonobalance.heap import large_blocks_kept

REPEATS = 5
Work = Callable[[], Any]


def classifier_step(precision: str) -> Work:
    """One step of fine-tuning on 32 images of 224 px, all layers learning."""
    settings = ClassifierSettings.model_validate({"precision": precision})
    return our_step(noise(settings.batch_size, settings.image_size_px), settings, {})


def prediction() -> Work:
    """Logits of 64 images of 224 px and their mirrors."""
    settings = ClassifierSettings()
    images = noise(64, settings.image_size_px)
    model = new_learner(images, settings, seed=0, device=CPU).average
    return lambda: model_logits(model, images)


def game(size: int) -> Work:
    """One step of the GAN's game without the lazy penalty."""
    given = argparse.Namespace(device="cpu", weights=None)
    return ours_of(training(size, 16, given)).plain


WORKS: dict[str, Callable[[], Work]] = {
    "classifier, training step, float32": lambda: classifier_step("float32"),
    "classifier, training step, bfloat16": lambda: classifier_step("bfloat16"),
    "classifier, prediction of 64 images": prediction,
    "GAN, step at 64 px": lambda: game(64),
    "GAN, step at 128 px": lambda: game(128),
}


def measured(name: str, kept: bool) -> tuple[float, float]:
    """Median seconds of the work, and the process's peak memory in MiB."""
    torch.set_num_threads(1)
    place: AbstractContextManager[None] = large_blocks_kept() if kept else nullcontext()
    with place:
        work = WORKS[name]()
        work()
        seconds = []
        for _ in range(REPEATS):
            began = time.process_time()
            work()
            seconds.append(time.process_time() - began)
    return statistics.median(seconds), peak_memory_mib()


def compared(name: str, rounds: int) -> dict[str, Any]:
    """Both ways in turn, each time in a fresh process."""
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for _ in range(rounds):
        for kept, each in found.items():
            with get_context("spawn").Pool(1) as pool:
                each.append(pool.apply(measured, (name, kept)))
    ratios = [new / old for (old, _), (new, _) in zip(found[False], found[True], strict=True)]
    return {
        "seconds_returned": statistics.median(s for s, _ in found[False]),
        "seconds_kept": statistics.median(s for s, _ in found[True]),
        "ratio": statistics.median(ratios),
        "ratio_spread": [min(ratios), max(ratios)],
        "peak_memory_mib": {
            "returned": round(statistics.median(m for _, m in found[False])),
            "kept": round(statistics.median(m for _, m in found[True])),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    if taken := [name for name in os.environ if name.startswith(("MALLOC_", "GLIBC_TUNABLES"))]:
        sys.exit(f"The environment sets {', '.join(taken)}; unset it to see what keeping is worth.")
    rows = {}
    for name in WORKS:
        rows[name] = compared(name, given.rounds)
        print(name, rows[name], flush=True)
    write_json(given.out, {
        "command": f"python benchmarks/heap.py {given.out} --rounds {given.rounds}",
        "unit": "seconds of processor time, one thread",
        "works": rows, "environment": environment(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
