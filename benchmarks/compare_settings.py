"""One arm under several settings, on the same folds and seeds, with paired differences.

    python benchmarks/compare_settings.py docs/results/attention-ablation.json \
        none=runs/gates-none channel=runs/gates-channel spatial=runs/gates-spatial both=runs/full

Each NAME=FOLDER is a finished benchmark; NAME stands for its arm `--arm`. Every other name is
compared with the first. The document has the schema of `benchmark.json`, with NAMEs in place of
arms, the commands of all, and the settings in which they differ. A Markdown table is printed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from sonobalance.config import EvaluationSettings
from sonobalance.evaluation.pairing import METHOD
from sonobalance.evaluation.predictions import arm_predictions
from sonobalance.evaluation.repeated import Blocks, evaluate_repeated
from sonobalance.files import read_json, write_json
from sonobalance.reporting.formatting import number, signed

SHOWN = ("accuracy", "macro_f1", "macro_auc", "ece")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("benchmarks", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--arm", default="none")
    given = parser.parse_args()
    folders = {name: Path(place) for name, place in (x.split("=", 1) for x in given.benchmarks)}
    documents = {name: read_json(place / "benchmark.json") for name, place in folders.items()}
    first = next(iter(documents.values()))
    protocol = first["protocol"]
    settings = protocol["settings"]
    result = evaluate_repeated(
        {name: blocks_of(place, given.arm) for name, place in folders.items()},
        first["classes"], EvaluationSettings.model_validate(settings["evaluation"]),
        seed=settings["seed"],
        references=[next(iter(folders))], test_to_train=protocol["test_to_train"],
    )  # fmt: skip
    flat = {name: _flat(d["protocol"]["settings"]) for name, d in documents.items()}
    keys = sorted(set().union(*flat.values()))
    varied = {k: {n: s[k] for n, s in flat.items() if k in s} for k in keys}
    write_json(given.out, {
        **result, "arm": given.arm,
        "settings_varied": {k: v for k, v in varied.items() if len({*map(str, v.values())}) > 1},
        "command": " ".join(["python benchmarks/compare_settings.py", *sys.argv[1:]]),
        "commands": {name: d["command"] for name, d in documents.items()},
        "protocol": protocol | {"method": METHOD},
    })  # fmt: skip
    print(table(result))


def blocks_of(folder: Path, arm: str) -> Blocks:
    """(seed, fold) → what the arm said about the fold's TEST images."""
    rows = pd.read_csv(folder / "predictions.csv", keep_default_na=False)
    rows = rows[rows["arm"] == arm]
    places = set(zip(rows["seed"].astype(int), rows["fold"].astype(int), strict=True))
    return {
        (seed, fold): arm_predictions(
            rows[(rows["seed"] == seed) & (rows["fold"] == fold)], arm, "test"
        )
        for seed, fold in sorted(places)
    }


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        f"{section}.{key}": value
        for section, values in settings.items() if isinstance(values, dict)
        for key, value in values.items()
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """One row per name; the difference in accuracy from the first behind it."""
    changes = {row["arm"]: row for row in result["paired"] if row["metric"] == "accuracy"}
    heads = [*(metric.replace("_", " ") for metric in SHOWN), "accuracy, paired difference"]
    lines = ["| | " + " | ".join(heads) + " |", "|" + "---|" * (len(heads) + 1)]
    for name, scores in result["arms"].items():
        cells = [
            f"{number(scores[m]['value'])} ({number(scores[m]['low'])} to "
            f"{number(scores[m]['high'])})" for m in SHOWN
        ]  # fmt: skip
        row = changes.get(name)
        change = "" if row is None else (
            f"{signed(row['difference'])} ({signed(row['low'])} to {signed(row['high'])})"
        )  # fmt: skip
        lines.append("| " + " | ".join([name, *cells, change]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
