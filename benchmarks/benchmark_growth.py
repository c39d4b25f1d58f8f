"""How the time of a benchmark grows with images and folds, by processor time on phantoms.

    python benchmarks/benchmark_growth.py WEIGHTS docs/results/benchmark-growth.json

Each row is a whole `sonobalance benchmark` of one arm without a generator (`none`, the recipe of
preset `cpu`), one unit after the other, in a process of its own with one thread; its time starts
when the libraries are imported. The law has what a benchmark costs in any case, what a unit costs,
and what an image in TRAIN costs in each unit; the audit, which looks at pairs, is within these.
"""

from __future__ import annotations

import argparse
import importlib
import os
import subprocess
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from finished import rows_of

from sonobalance import api
from sonobalance.config import Settings
from sonobalance.data.phantoms import make_phantoms
from sonobalance.environment import environment
from sonobalance.files import read_json, write_json

SIDE_PX = 160
IMAGES, FOLDS = (60, 120, 240), (3, 5)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path, help="JSON with the results; resumed")
    parser.add_argument("--images", type=int, nargs="+", default=IMAGES)
    parser.add_argument("--folds", type=int, nargs="+", default=FOLDS)
    parser.add_argument("--alone", type=Path, help="measure this set only, of the first --folds")
    given = parser.parse_args()
    if given.alone:
        write_json(given.out, measure(given.alone, given.weights, given.folds[0]))
        return
    fixed = {"weights": given.weights.name}
    rows = rows_of(given.out, fixed)
    done = {(row["images"], row["folds"]) for row in rows}
    for images, folds in product(given.images, given.folds):
        if (images, folds) not in done:
            rows.append(measured(images, folds, given.weights))
            write_json(given.out, document(rows, given) | fixed)
    sys.stdout.write(given.out.read_text())


def document(rows: list[dict[str, Any]], given: argparse.Namespace) -> dict[str, Any]:
    """What is written: how it was measured, the rows, and the law."""
    asked = f"--images {' '.join(map(str, given.images))} --folds {' '.join(map(str, given.folds))}"
    return {
        "command": f"python benchmarks/benchmark_growth.py {given.weights.name} "
        f"docs/results/benchmark-growth.json {asked}",
        "data": f"phantoms of {SIDE_PX} px, seed 0",
        "arm": "none",
        "preset": "cpu",
        "environment": environment(),
        "rows": rows,
        "law": law(rows),
    }


def measured(images: int, folds: int, weights: Path) -> dict[str, Any]:
    """One benchmark in a fresh process of one thread."""
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "phantoms", Path(place) / "row.json"
        make_phantoms(folder, images=images, size_px=SIDE_PX)
        subprocess.run(
            [sys.executable, __file__, str(weights), str(out), "--alone", str(folder), "--folds",
             str(folds)],
            check=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        return {"images": images, **read_json(out)}


def measure(folder: Path, weights: Path, folds: int) -> dict[str, Any]:
    """Processor seconds of a benchmark of the arm `none`."""
    for library in ("sonobalance.comparison.benchmark", "sonobalance.plan", "sonobalance.stages",
                    "sonobalance.classify.train"):  # fmt: skip
        importlib.import_module(library)  # some are imported where they are needed
    with tempfile.TemporaryDirectory() as place:
        settings = Settings.model_validate({"arms": ["none"]})
        start = time.process_time()
        path = api.benchmark(
            folder, out=Path(place) / "out", folds=folds, preset="cpu", weights=weights,
            settings=settings,
        )  # fmt: skip
        seconds = time.process_time() - start
        sizes = read_json(path)["protocol"]["images_per_fold"]
    return {
        "folds": folds,
        "processor_seconds": round(seconds, 1),
        "images_per_unit": {part: float(size) for part, size in sizes.items()},
    }


def law(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Least squares: seconds = fixed + per unit + per TRAIN image and unit; what it explains."""
    if len(rows) < 4:
        return {}
    folds = np.array([row["folds"] for row in rows])
    shown = folds * np.array([row["images_per_unit"]["train"] for row in rows])
    seconds = np.array([row["processor_seconds"] for row in rows])
    terms = np.stack([np.ones_like(seconds), folds, shown], axis=1)
    found = np.linalg.lstsq(terms, seconds)[0]
    left = seconds - terms @ found
    return {
        "fixed_seconds": round(float(found[0]), 1),
        "seconds_per_unit": round(float(found[1]), 2),
        "seconds_per_train_image_and_unit": round(float(found[2]), 4),
        "r_squared": round(float(1 - left.var() / seconds.var()), 4),
    }


if __name__ == "__main__":
    main()
