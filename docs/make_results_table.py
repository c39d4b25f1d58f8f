"""Write the results table of the README from docs/results/*.json, and nothing by hand."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from sonobalance.arms import REFERENCES

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
BEGIN, END = "<!-- results -->", "<!-- /results -->"
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "recall_malignant")


def results(run: dict[str, Any], folds: dict[str, Any], alone: list[dict[str, Any]]) -> str:
    """The README's section on results: arms over folds, then a whole run."""
    return f"## Results so far\n\n{of_folds(folds, alone)}\n{of_run(run)}"


def of_folds(folds: dict[str, Any], alone: list[dict[str, Any]]) -> str:
    """Every image tested once, by a model that saw no relative of it."""
    protocol, classifier = folds["protocol"], folds["protocol"]["settings"]["classifier"]
    first, second = classifier["backbone"], classifier["second_backbone"]
    rows = {
        f"`{first}` and `{second}`": folds["arms"]["none"],
        **{f"`{backbone_of(one)}` alone": one["arms"]["none"] for one in alone},
        **{
            f"regression on frozen features of `{backbone_of(one)}`": one["arms"]["probe"]
            for one in alone
        },
    }
    return f"""BUSI, {protocol["name"]}: {protocol["folds"]} folds, {protocol["seeds"]} seed; each
of {folds["n"]} images of {folds["groups"]} independent groups tested once; 95 % intervals
clustered by group; real images only, no rebalancing, {classifier["image_size_px"]} px (the `cpu`
preset has 160). Settings were chosen on the VAL parts of these folds, which are other folds' TEST,
so that the figures are somewhat optimistic; the weight file of `{second}`
is [a conversion](docs/classifier.md#a-second-backbone)
([two backbones](docs/results/busi-grouped.json), [the second](docs/results/busi-edgetpu.json),
[the first](docs/results/busi-one-backbone.json), [how](docs/classifier.md)):

{table(rows, "classifier")}
"""


def backbone_of(benchmark: dict[str, Any]) -> str:
    return str(benchmark["protocol"]["settings"]["classifier"]["backbone"])


def of_run(run: dict[str, Any]) -> str:
    """One run from images to report."""
    environment = run["environment"]
    compared = {row["against"] for row in run["paired"]}
    against = next(name for name in reversed(REFERENCES) if name in compared)
    verdicts = [
        f"{row['metric'].replace('_', ' ')} {row['difference']:+.3f} "
        f"({row['low']:+.3f} to {row['high']:+.3f})"
        for row in run["paired"]
        if row["metric"] in ("macro_f1", "recall_malignant")
        and (row["arm"], row["against"]) == ("dual-iterative", against)
    ]
    spent = sum(stage["processor_seconds"] for stage in run["stages"].values()) / 60
    cost = f"{spent:.0f} minutes of processor time ({run['minutes']:.0f} by the clock, shared)"
    return f"""One run on BUSI, one core ({environment["processor"]}) without a GPU:
{cost}, {run["peak_memory_mib"] / 1024:.1f} GiB; grouped hold-out, {run["n"]} TEST
images of {run["groups"]} independent groups; 95 % intervals clustered by group
([busi-run.json](docs/results/busi-run.json)):

An *arm* is the same classifier trained in one way: `none` on the real images as they are,
`over-sampling` with classes drawn equally often, `dual-iterative` the same with synthetic images
of the two discriminators' GAN.

{table(run["arms"], "arm")}

`dual-iterative` against `{against}` on the same images: {"; ".join(verdicts)}.
{run["synthesis"]["sentence"]}
"""


def table(arms: dict[str, Any], what: str) -> str:
    head = f"| {what} | " + " | ".join(name.replace("_", " ") for name in METRICS) + " |"
    rows = [f"| {arm} | " + " | ".join(cells(values)) + " |" for arm, values in arms.items()]
    return "\n".join([head, "|" + "---|" * (len(METRICS) + 1), *rows])


def cells(metrics: dict[str, Any]) -> list[str]:
    out = []
    for name in METRICS:
        value = metrics[name]
        out.append(f"{value['value']:.3f} ({value['low']:.3f}–{value['high']:.3f})")
    return out


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    run, folds, *alone = (
        json.loads((DOCS / "results" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("busi-run", "busi-grouped", "busi-edgetpu", "busi-one-backbone")
    )
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    README.write_text(
        f"{before}{BEGIN}\n{results(run, folds, alone)}{END}{after}", encoding="utf-8"
    )
    print(README)


if __name__ == "__main__":
    main()
