"""Do thresholds and conformal sets of VAL keep their promises on TEST?

    python benchmarks/trust.py docs/results/trust-busi.json BENCHMARK

For every finished model in the folder of a benchmark the threshold of each class is set on its VAL
(`evaluation.sensitivity`), and so is the cut-off of its conformal sets (`evaluation.coverage`).
What TEST says is pooled over the folds and seeds of an arm; intervals draw whole groups, all
predictions of an image together, and take the trained models as given.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.config import EvaluationSettings
from sonobalance.environment import environment
from sonobalance.evaluation.calibration import (
    conformal_cutoff,
    conformal_sets,
    operating_threshold,
)
from sonobalance.evaluation.intervals import group_weights, mean_interval
from sonobalance.evaluation.predictions import arm_predictions, classes_of, read_predictions
from sonobalance.files import read_json, write_json
from sonobalance.randomness import numpy_generator

Column = NDArray[np.float64]
PREDICTIONS = "predictions.csv"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("benchmark", type=Path, help="folder of a finished benchmark")
    given = parser.parse_args()
    document = read_json(given.benchmark / "benchmark.json")
    settings = EvaluationSettings.model_validate(document["protocol"]["settings"]["evaluation"])
    units = given.benchmark / "units"
    found = {arm: models_of(units, arm) for arm in document["arms"]}
    arms = {arm: trusted(paths, arm, settings) for arm, paths in found.items() if paths}
    if not arms:
        sys.exit(f"Expected finished models in {given.benchmark}, but there are none.")
    write_json(given.out, {
        "what": __doc__,
        "command": f"python benchmarks/trust.py docs/results/{given.out.name} "
        f"{given.benchmark.name}",
        "benchmark": document["command"],
        "sensitivity_wanted": settings.sensitivity,
        "coverage_wanted": settings.coverage,
        "arms": arms,
        "environment": environment(),
    })  # fmt: skip
    print(given.out)


def models_of(units: Path, arm: str) -> list[Path]:
    """The predictions of each finished model of an arm; none of arms that join others' rows."""
    return sorted(units.glob(f"{arm}-seed*/{PREDICTIONS}"))


def trusted(paths: list[Path], arm: str, settings: EvaluationSettings) -> dict[str, Any]:
    """What TEST says of one arm's thresholds and conformal sets."""
    tables = [read_predictions(path) for path in paths]
    classes = classes_of(tables[0])
    pairs = [[arm_predictions(table, arm, part) for part in ("val", "test")] for table in tables]
    groups = np.concatenate([test.groups for _, test in pairs])
    targets = np.concatenate([test.targets for _, test in pairs])
    called, size, held = [], [], []
    for val, test in pairs:
        cuts = [
            operating_threshold(val.targets, val.probabilities, k, settings.sensitivity)
            for k in range(len(classes))
        ]
        called.append(test.probabilities >= np.array(cuts))
        cutoff = conformal_cutoff(val.targets, val.probabilities, settings.coverage)
        sets = conformal_sets(test.probabilities, cutoff)
        size.append(sets.sum(1).astype(np.float64))
        held.append(sets[np.arange(len(test)), test.targets])
    generator = numpy_generator(0, "trust", arm)
    weights = group_weights(groups, settings.resamples, generator, targets)

    def mean(values: Column, counted: NDArray[np.bool_] | None = None) -> dict[str, float | None]:
        among = None if counted is None else counted.astype(np.float64)
        counts = values if among is None else values * among
        return mean_interval(counts, weights, settings.confidence, among).as_json()

    positive, sizes = np.concatenate(called), np.concatenate(size)
    return {
        "models": len(paths),
        "operating": {
            name: {
                "sensitivity": mean(positive[:, k].astype(np.float64), targets == k),
                "specificity": mean((~positive[:, k]).astype(np.float64), targets != k),
            }
            for k, name in enumerate(classes)
        },
        "conformal": {
            "coverage": mean(np.concatenate(held).astype(np.float64)),
            "coverage_by_class": {
                name: mean(np.concatenate(held).astype(np.float64), targets == k)
                for k, name in enumerate(classes)
            },
            "mean_size": mean(sizes),
            "single_share": float((sizes == 1).mean()),
            "empty_share": float((sizes == 0).mean()),
        },
    }  # fmt: skip


if __name__ == "__main__":
    main()
