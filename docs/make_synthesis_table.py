"""Write what synthesis was worth, and the arms of two files, into `docs/benchmark.md`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).parent
GENERATORS = {
    "busi-full-enlarged.json": "64 px, enlarged",
    "busi-scarce-half.json": "64 px, enlarged",
    "busi-scarce-enlarged.json": "64 px, enlarged",
    "busi-scarce-quarter.json": "64 px, enlarged, in bfloat16",
    "busi-scarce-tenth.json": "64 px, enlarged, in bfloat16",
    "busi-scarce.json": "64 px, resampled",
    "busi-scarce-128.json": "128 px, resampled, soft frames",
    "busi-scarce-warm.json": "64 px from BUS-BRA, resampled, soft frames",
}
HEAD = (
    "| malignant groups kept (images in TRAIN) | generators | trainings, advised against | "
    "against `over-sampling`: macro-F1 | malignant recall | macro AUC | "
    "against the best cheap arm: macro-F1 | against `single`: macro-F1 | malignant recall |\n"
    + "|---" * 9
    + "|\n"
)
DUAL = "dual-iterative"
CHEAP = ("none", "over-sampling", "class-weights", "focal", "strong-augmentation")
ARMS = (*CHEAP, "single", "dual-one-shot", DUAL)
METRICS = ("accuracy", "macro_f1", "recall_malignant", "macro_auc")


def levels() -> Iterator[tuple[str, dict]]:
    """Name of the file and one level of scarcity, most images first."""
    found = [
        (name, level)
        for name in GENERATORS
        for level in json.loads((DOCS / "results" / name).read_text(encoding="utf-8"))["levels"]
    ]
    yield from sorted(found, key=lambda pair: -pair[1]["share"])


def signed(value: float) -> str:
    text = f"{abs(value):.3f}".removeprefix("0")
    return text if text == ".000" else ("+" if value > 0 else "−") + text


def difference(level: dict, against: str, metric: str) -> str:
    for row in level["paired"]:
        if (row["arm"], row["against"], row["metric"]) == (DUAL, against, metric):
            marks = "**" if row["low"] > 0 or row["high"] < 0 else ""
            low, high = signed(row["low"]), signed(row["high"])
            return f"{marks}{signed(row['difference'])} ({low} to {high}){marks}"
    return ""


def best_cheap(level: dict) -> str:
    """Where more cheap arms than over-sampling were trained: the best of them, chosen on TEST."""
    for row in level["verdicts"]:
        named = (row["arm"], row["metric"], row["question"])
        if named == (DUAL, "macro_f1", "best cheap arm") and row["against"] != "over-sampling":
            return f"`{row['against']}`: {difference(level, row['against'], 'macro_f1')}"
    return ""


def line(name: str, level: dict) -> str:
    protocol = level["protocol"]
    images = protocol["train_by_class"]["malignant"]
    trainings = protocol["folds"] * protocol["seeds"]
    refused = protocol.get("advised_against")  # the earliest results do not say
    against = "?" if refused is None else sum(not title.startswith("single") for title in refused)
    cells = [
        f"[{level['share']:.0%}](results/{name}) ({images:.0f})", GENERATORS[name],
        f"{trainings}, {against}",
        *(difference(level, "over-sampling", m) for m in ("macro_f1", "recall_malignant")),
        difference(level, "over-sampling", "macro_auc"), best_cheap(level),
        *(difference(level, "single", m) for m in ("macro_f1", "recall_malignant")),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def unsigned(value: float) -> str:
    return f"{value:.3f}".removeprefix("0")


def arms_of(file: str) -> str:
    """Every arm of a file of one level, with its intervals."""
    [level] = [level for name, level in levels() if name == file]
    lines = ["| arm | accuracy | macro-F1 | malignant recall | macro AUC |", "|---" * 5 + "|"]
    for arm in filter(level["arms"].__contains__, ARMS):
        measured = [level["arms"][arm][metric] for metric in METRICS]
        cells = [
            f"{unsigned(one['value'])} ({unsigned(one['low'])}–{unsigned(one['high'])})"
            for one in measured
        ]
        lines.append(f"| `{arm}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def put(page: str, name: str, table: str) -> str:
    """The page with what stands between the marks of this name replaced."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = page.split(start)
    _, after = rest.split(end)
    return before + start + table + end + after


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    path = DOCS / "benchmark.md"
    rows = HEAD + "".join(line(*pair) for pair in levels())
    page = put(path.read_text(encoding="utf-8"), "synthesis", rows)
    page = put(page, "arms", arms_of("busi-full-enlarged.json"))
    page = put(page, "quarter", arms_of("busi-scarce-quarter.json"))
    path.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
