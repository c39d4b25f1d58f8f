"""Several benchmarks at different scarcity as one result: does synthesis pay where images are few?

    python benchmarks/summarise_scarcity.py docs/results/busi-scarce.json \
        runs/full/benchmark.json runs/scarce-50/benchmark.json runs/scarce-25/benchmark.json

The document has the schema of `benchmark.json`; its head is the benchmark nearest to a quarter of
the rare class, the smallest generator first, and `levels` holds all of them, from the fullest to
the scarcest. The table is printed as Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sonobalance.arms import CHEAP
from sonobalance.comparison.verdict import verdicts
from sonobalance.files import read_json, write_json
from sonobalance.reporting.formatting import number

HEAD_SHARE = 0.25
KEPT = ("arms", "paired", "verdicts", "protocol", "command", "n", "groups", "classes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("benchmarks", type=Path, nargs="+")
    given = parser.parse_args()
    read = [read_json(path) for path in given.benchmarks]
    levels = sorted((level(document) for document in read), key=by_share)
    head = min(levels, key=lambda level: abs(level["share"] - HEAD_SHARE))
    sentence = " ".join(answer(level) for level in levels)
    write_json(given.out, head | {"levels": levels, "sentence": sentence})
    print(table(levels))
    print("\n" + sentence)


def level(document: dict[str, Any]) -> dict[str, Any]:
    """What is kept of one benchmark, with the share and the side of generated images.

    Verdicts are taken anew, so that benchmarks of several versions answer the same questions.
    """
    document = document | {"verdicts": verdicts(document)}
    scarce = document["protocol"]["scarce"]
    return {
        "share": float(scarce["share"]) if scarce else 1.0,
        "generator_px": document["protocol"]["settings"]["gan"]["image_size_px"],
    } | {key: document[key] for key in KEPT}


def by_share(level: dict[str, Any]) -> tuple[float, int]:
    return -level["share"], level["generator_px"]


def table(levels: list[dict[str, Any]]) -> str:
    """One row per level and arm: macro-F1 and the recall of the class made scarce."""
    scarce = next(
        (x["protocol"]["scarce"]["class"] for x in levels if x["protocol"]["scarce"]), "malignant"
    )
    metrics = ("macro_f1", f"recall_{scarce}", "macro_auc")
    lines = [
        f"| {scarce} in TRAIN | generator | arm | "
        + " | ".join(m.replace("_", " ") for m in metrics)
        + " |",
        "|" + "---|" * (len(metrics) + 3),
    ]
    for level in levels:
        count = level["protocol"]["train_by_class"][scarce]
        for arm, scores in level["arms"].items():
            cells = [
                f"{number(scores[m]['value'])} "
                f"({number(scores[m]['low'])}–{number(scores[m]['high'])})"
                for m in metrics
            ]
            row = [
                f"{level['share']:.0%} ({count:.0f})",
                f"{level['generator_px']} px",
                arm,
                *cells,
            ]
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def answer(level: dict[str, Any]) -> str:
    """What this level says about synthesis, or about the cheap arms where there is none."""
    said = [row["sentence"] for row in level["verdicts"]]
    if not said:
        best = max(
            (arm for arm in level["arms"] if arm in CHEAP),
            key=lambda arm: level["arms"][arm]["macro_f1"]["value"],
        )
        said = [f"no synthesis was trained; the best cheap arm in macro-F1 is {best}."]
    return f"At {level['share']:.0%}, {level['generator_px']} px: " + " ".join(said)


if __name__ == "__main__":
    main()
