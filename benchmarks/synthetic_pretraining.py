"""Is a classifier better for having learnt from synthetic images before real ones?

    sonobalance benchmark BUSI --out BENCHMARK --arms over-sampling --arms dual-iterative ...
    python benchmarks/synthetic_pretraining.py BENCHMARK docs/results/FILE.json [--per-class 400]

In every fold of a finished BENCHMARK the generator's bundle draws images of all classes alike,
gated and enlarged as in a run, so that no look tells a class. A network with the arm's weights
learns from them alone, by the recipe of `transfer_source.py`; real TRAIN images, which it does not
learn from, choose its epoch. Then over-sampling is trained on real images

    pretrained   from that network (`classifier.init`), by the arm's own recipe
    partner      as in BENCHMARK, with that network as one more member (`classifier.partner`)

and compared with the arms of BENCHMARK on TEST, in its schema. TEST is asked once; nothing here
was chosen by it. Networks are left in BENCHMARK/units and taken from there when run again.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from compare_settings import blocks_of, table
from transfer_source import RECIPE

from sonobalance.artefacts import splits_of
from sonobalance.classify.ancestry import write_ancestry
from sonobalance.classify.train import train_classifier
from sonobalance.comparison.pooling import blocks_by_arm
from sonobalance.comparison.units import Fold, Unit
from sonobalance.comparison.work import finished, perform, prepare
from sonobalance.config import Arm, EvaluationSettings
from sonobalance.data.guard import reading_only
from sonobalance.data.loading import LabelledImages, load_images
from sonobalance.environment import environment
from sonobalance.evaluation.pairing import METHOD
from sonobalance.evaluation.repeated import Blocks, evaluate_repeated
from sonobalance.files import read_json, write_json
from sonobalance.runs import Run, open_run
from sonobalance.synthesis.drawing import Request, make_images
from sonobalance.synthesis.enlarger import enlarged_pixels
from sonobalance.synthesis.generator_bundle import open_generator_bundle

ARM: Arm = "over-sampling"
USES = {"pretrained": "init", "partner": "partner"}  # row → the setting that gets the network
EPOCHS = 6


@dataclass(frozen=True)
class Place:
    """One fold of the benchmark: the run of its generator, and that of the arm to be improved."""

    gan: Run
    arm: Run
    seed: int
    number: int

    @property
    def name(self) -> str:
        """As in the names of units."""
        return f"seed{self.seed}-fold{self.number}"


def places_of(benchmark: Path) -> list[Place]:
    """Every fold that has a generator and the arm."""
    found = []
    for folder in sorted((benchmark / "units").glob("gan-d2gan-*")):
        *_, seed, fold, _ = folder.name.split("-")
        (arm,) = (benchmark / "units").glob(f"{ARM}-{seed}-{fold}-*")
        number = int(fold.removeprefix("fold"))
        found.append(Place(open_run(folder), open_run(arm), int(seed.removeprefix("seed")), number))
    return found


def drawn(place: Place, per_class: int) -> LabelledImages:
    """Synthetic images of every class, alike many or as many as pass the gates."""
    bundle, side = open_generator_bundle(place.gan.folder), _side(place.arm)
    classes = tuple(bundle.document["classes"])
    pixels, ids, targets = [], [], []
    for target, label in enumerate(classes):
        kept, made = make_images(bundle, Request(label, per_class, seed=place.seed))
        pixels.append(enlarged_pixels(made, bundle.enlarger) if bundle.enlarger else made)
        ids += [candidate.id for candidate in kept if candidate.kept]
        targets += [target] * len(made)
    images = torch.cat(pixels)
    if images.shape[-1] != side:
        sys.exit(f"The generator's images have {images.shape[-1]} px, the arm's {side} px.")
    return LabelledImages(images, torch.tensor(targets), tuple(ids), classes)


def taught(place: Place, per_class: int) -> Path:
    """The folder of the network that learnt from synthetic images alone."""
    folder = place.arm.folder.parent / f"synthetic-{per_class}-{place.name}"
    if (folder / "trained_on.txt").is_file():
        return folder
    train, settings = splits_of(place.arm).of("train"), place.arm.settings
    with reading_only(train):
        real = load_images(train, _side(place.arm), train.classes)
    recipe = settings.classifier.model_copy(update=RECIPE | {"epochs": EPOCHS})
    images = drawn(place, per_class)
    train_classifier(
        images, real, recipe, seed=settings.seed, folder=folder, device=torch.device("cpu")
    )
    write_json(folder / "drawn.json", dict(zip(images.classes, _counts(images), strict=True)))
    write_ancestry(folder, [train])
    return folder


def unit_of(place: Place, use: str, start: Path) -> Unit:
    """The arm once more, with the network in one of its settings."""
    settings = place.arm.settings
    changed = settings.classifier.model_copy(update={USES[use]: start.absolute()})
    fold = Fold(place.seed, place.number, splits_of(place.arm))
    folder = place.arm.folder.parent / f"{use}-{start.name}"
    return Unit(folder, fold, settings.model_copy(update={"classifier": changed}), ARM)


def trained(benchmark: Path, places: list[Place], use: str, per_class: int) -> Blocks:
    """What the arm says of TEST with the networks used in one way."""
    base, units = open_run(benchmark / "base"), []
    for place in places:
        unit = unit_of(place, use, taught(place, per_class))
        if not finished(unit):
            prepare(unit, base)
            print(perform(unit.folder, unit.arm), flush=True)
        units.append(unit)
    return blocks_by_arm(units)[ARM]


def _side(run: Run) -> int:
    return run.settings.classifier.image_size_px


def _counts(images: LabelledImages) -> list[int]:
    return np.bincount(images.targets.numpy(), minlength=len(images.classes)).tolist()


def alone(places: list[Place], per_class: int) -> list[dict[str, Any]]:
    """How many images each network learnt from, and what it says of the real TRAIN images."""
    rows = []
    for place in places:
        folder = taught(place, per_class)
        lines = [json.loads(line) for line in (folder / "stats.jsonl").read_text().splitlines()]
        best = min(lines, key=lambda row: row["val_log_loss"])
        rows.append({
            "fold": place.name, "drawn": read_json(folder / "drawn.json"), "on_real_train": best,
        })  # fmt: skip
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--per-class", type=int, default=400, help="synthetic images of each class")
    given = parser.parse_args()
    document = read_json(given.benchmark / "benchmark.json")
    places = places_of(given.benchmark)
    rows = pd.read_csv(given.benchmark / "predictions.csv", keep_default_na=False)
    blocks = {arm: blocks_of(given.benchmark, arm) for arm in rows["arm"].unique()}
    for use in USES:
        blocks[use] = trained(given.benchmark, places, use, given.per_class)
    protocol = document["protocol"]
    settings = protocol["settings"]
    result = evaluate_repeated(
        blocks, document["classes"], EvaluationSettings.model_validate(settings["evaluation"]),
        seed=settings["seed"], references=[ARM], test_to_train=protocol["test_to_train"],
    )  # fmt: skip
    write_json(given.out, {
        "what": __doc__,
        **result,
        "command": " ".join(["python benchmarks/synthetic_pretraining.py", *sys.argv[1:]]),
        "benchmark": document["command"],
        "recipe": RECIPE | {"epochs": EPOCHS},
        "networks": alone(places, given.per_class),
        "protocol": protocol | {"method": METHOD},
        "environment": environment(),
    })  # fmt: skip
    print(table(result))


if __name__ == "__main__":
    main()
