"""How near synthetic images come to real ones at the side at which a classifier sees them.

    sonobalance benchmark BUSI --out BENCHMARK --arms dual-iterative --weights WEIGHTS ...
    python benchmarks/enlarging.py BENCHMARK --weights WEIGHTS --referee REFEREE --out FILE.json

Of each GAN of BENCHMARK and each class with synthetic images: KID, with the standard deviation over
subsets, between the real images outside VAL and TEST at the classifier's side and

    other half            one half of them against the other, whole groups together
    real resampled        the same images shrunk to the generator's side and brought back
    real enlarged         the same brought back by the enlarger that the run learnt from TRAIN
    synthetic resampled   accepted synthetic images, bicubic
    synthetic enlarged    the same by the enlarger

The enlarger has learnt with the features of `--weights`, never with those of `--referee`. Real
images that a scarcity left out count as real: neither GAN nor enlarger has seen them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from gan_quality import REFEREE, look, standardised

from sonobalance.artefacts import splits_of
from sonobalance.data.guard import reading_only
from sonobalance.data.loading import LabelledImages, load_images, to_pixels, to_unit
from sonobalance.environment import environment
from sonobalance.files import read_json, write_json
from sonobalance.gan.framing import resize
from sonobalance.runs import Run, open_run
from sonobalance.synthesis.enlarger import ENLARGER, enlarged, load_enlarger
from sonobalance.synthesis.fidelity import split_halves, subset_kernel_distance
from sonobalance.synthesis.summary import training_images


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the backbone")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="any timm name")
    parser.add_argument("--referee", type=Path, help=f"safetensors of tf_{REFEREE}")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def resampled(images: LabelledImages, side: int) -> LabelledImages:
    """Bicubic."""
    return replace(images, pixels=to_pixels(resize(to_unit(images.pixels), side, side)))


def rows_of(run: Run, base: Run, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row per class and network of one GAN."""
    splits, enlarger = splits_of(run), load_enlarger(run.path(f"synthesis/{ENLARGER}"))
    usable = {key for key, part in splits_of(base).part.items() if part != "excluded"}
    made = training_images(run.path("synthesis"), every_round=True)
    for label in sorted({r.label for r in made}):
        real = splits.manifest.select(
            r.id for r in splits.manifest
            if r.id in usable and r.label == label and splits.part[r.id] not in {"val", "test"}
        )  # fmt: skip
        mine = made.select(r.id for r in made if r.label == label)
        with reading_only(real, folders=[run.path("synthesis")]):
            whole = load_images(real, enlarger.large, splits.manifest.classes)
            small, drawn = (
                load_images(m, enlarger.small, splits.manifest.classes) for m in (real, mine)
            )
        views = {
            "real resampled": resampled(small, enlarger.large),
            "real enlarged": enlarged(small, enlarger),
            "synthetic resampled": resampled(drawn, enlarger.large),
            "synthetic enlarged": enlarged(drawn, enlarger),
        }
        reals = look(whole, given)
        others = {name: look(view, given) for name, view in views.items()}
        first = split_halves([splits.group[key] for key in real.ids], 0)
        for network, by in reals.items():
            sides = {name: (by, found[network]) for name, found in others.items()}
            sides = {"other half": (by[first], by[~first])} | sides
            yield {
                "fold": run.folder.name.rsplit("-", 1)[0], "class": label, "network": network,
                "real": len(real), "synthetic": len(mine),
                "kid": {
                    name: dict(zip(("value", "std"), subset_kernel_distance(
                        standardised(a, by), standardised(b, by), 0), strict=True))
                    for name, (a, b) in sides.items()
                },
            }  # fmt: skip


def main() -> None:
    """Measure every GAN of the benchmark."""
    given = arguments()
    base, rows = open_run(given.benchmark / "base"), []
    units = [open_run(path) for path in sorted((given.benchmark / "units").glob("gan-*"))]
    for row in (row for unit in units for row in rows_of(unit, base, given)):
        rows.append(row)
        print(row, flush=True)
    means = {
        f"{label}, {network}": {
            name: float(np.mean([
                row["kid"][name]["value"] for row in rows
                if (row["class"], row["network"]) == (label, network)
            ]))
            for name in rows[0]["kid"]
        }
        for label, network in sorted({(row["class"], row["network"]) for row in rows})
    }  # fmt: skip
    write_json(given.out, {
        "what": __doc__,
        "command": f"python benchmarks/enlarging.py BENCHMARK --weights {given.weights.name}"
        + (f" --referee {given.referee.name}" if given.referee else "")
        + f" --out docs/results/{given.out.name}",
        "benchmark": read_json(given.benchmark / "benchmark.json")["command"],
        "environment": environment(), "mean_kid": means, "rows": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
