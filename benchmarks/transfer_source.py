"""Train on another set as thoroughly as its size allows: a classifier to be a partner, or a GAN.

python benchmarks/transfer_source.py BUSBRA mobilenetv2_100.safetensors OUT [--generator 64]

OUT gets `run/` and `classifier/`, whose path is then given as `--classifier.partner`. A partner is
meant to know what the other set teaches, not to stay close to its first weights: whole epochs for
the last half of the backbone with ten times the usual rate, from a random head. With `--generator`
a GAN of images of that side is trained instead, and `run/` is given as `--gan.init`.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from sonobalance import runs
from sonobalance.config import Settings
from sonobalance.stages import STAGES

RECIPE = {
    "keep": "best", "head_start": "random", "head_epochs": 0, "outline_epochs": 0,
    "epochs": 4, "backbone_lr": 5e-4, "head_lr": 1e-3, "dropout": 0.2, "refit_head": False,
    "ema_halflife_epochs": 1.0, "attention": "none",
}  # fmt: skip
GAN = {"autoencoder_kimg": 24.0, "total_kimg": 36.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--generator", type=int, metavar="PX", help="train a GAN of this side")
    given = parser.parse_args()
    settings = Settings.model_validate({
        "arms": ("none",),
        "audit": {"near_duplicates": False, "marks": False},
        "split": {"test_fraction": 0.04, "val_fraction": 0.1},
        "gan": GAN | ({"image_size_px": given.generator} if given.generator else {}),
        "classifier": RECIPE | {"weights": given.weights.absolute()},
    })  # fmt: skip
    place = given.out / "run"
    place.mkdir(parents=True, exist_ok=True)
    run = runs.create(place, given.data, settings, None)
    last = "train-gan" if given.generator else "train"
    for stage in ("index", "audit", "split", last):
        run.perform(STAGES[stage])
    if given.generator:
        print(place)
        return
    shutil.copytree(run.path("classifier/none"), given.out / "classifier", dirs_exist_ok=True)
    print(given.out / "classifier")


if __name__ == "__main__":
    main()
