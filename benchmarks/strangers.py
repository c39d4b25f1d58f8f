"""How many unseen images of the same set are refused as strangers, and how many of other sets.

    python benchmarks/strangers.py docs/results/strangers-busi.json BENCHMARK over-sampling BUSBRA

For every model of the arm in the folder of a finished benchmark, what is familiar is learnt from
its TRAIN and VAL as a bundle does. The limit is set so that about 1 % of VAL lie beyond it; TEST
tells what that is worth on images that nothing has seen. Every further FOLDER is another data set.
Colours, a sign of their own (`benchmarks/colour.py`), are not looked at.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.artefacts import device_of, splits_of
from sonobalance.classify.features import model_features
from sonobalance.classify.predict import Predictor
from sonobalance.classify.stranger import LIMIT, Stranger, stranger_of
from sonobalance.comparison.protocol import portable
from sonobalance.config import DataSettings
from sonobalance.data.loading import LabelledImages, load_images
from sonobalance.data.manifest import Manifest
from sonobalance.data.sources import index_folder
from sonobalance.environment import environment
from sonobalance.files import read_json, write_json
from sonobalance.runs import Run, open_run


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("benchmark", type=Path, help="folder of a finished benchmark")
    parser.add_argument("arm")
    parser.add_argument("others", type=Path, nargs="*", metavar="FOLDER")
    given = parser.parse_args()
    others = {folder.name: index_folder(folder, DataSettings())[0] for folder in given.others}
    document = read_json(given.benchmark / "benchmark.json")
    runs = [run for run in map(open_run, units_of(given)) if belongs(run, document)]
    if not runs:
        sys.exit(f"Expected models of {given.arm} in {given.benchmark}, but there are none.")
    rows = [judged(run, given.arm, others) for run in runs]
    names = " ".join(others)
    write_json(given.out, {
        "what": __doc__,
        "command": f"python benchmarks/strangers.py docs/results/{given.out.name} "
        f"{given.benchmark.name} {given.arm} {names}".rstrip(),
        "benchmark": document["command"],
        "models": rows,
        "pooled": {part: pooled(rows, part) for part in ("test", *others)},
        "environment": environment(),
    })  # fmt: skip


def units_of(given: argparse.Namespace) -> list[Path]:
    return sorted((given.benchmark / "units").glob(f"{given.arm}-seed*"))


def belongs(run: Run, document: dict[str, Any]) -> bool:
    """Whether a unit is of the benchmark as it ended, not of one with other settings before."""
    asked = document["protocol"]["settings"]["classifier"]
    return all(portable(run.settings)["classifier"][key] == asked[key] for key in asked)


def judged(run: Run, arm: str, others: dict[str, Manifest]) -> dict[str, Any]:
    """How many images each set has, and how many of them one model refuses."""
    predictor = Predictor.load(run.path(f"classifier/{arm}"), device_of(run))
    splits, side = splits_of(run), predictor.image_size_px

    def loaded(images: Manifest, what: str) -> LabelledImages:
        return load_images(images, side, images.classes, what)

    train, val = (loaded(splits.of(part), part) for part in ("train", "val"))
    stranger = stranger_of(predictor, train, val, [0.0])
    sets = {"test": splits.of("test")} | others
    row = {
        name: counted(predictor, stranger, loaded(images, name)) for name, images in sets.items()
    }
    print(run.folder.name, row, flush=True)
    return {"unit": run.folder.name, "val": {"images": len(val)}, **row}


def counted(predictor: Predictor, stranger: Stranger, images: LabelledImages) -> dict[str, int]:
    """Images of a set and those among them that are refused."""
    features = model_features(predictor.model, images, image_size_px=predictor.image_size_px)
    refused: NDArray[np.bool_] = stranger.scores(features, images.pixels) > LIMIT
    return {"images": len(images), "refused": int(refused.sum())}


def pooled(rows: list[dict[str, Any]], part: str) -> dict[str, float]:
    """The images of a set as often as a model judged them, and how many were refused."""
    images, refused = (sum(row[part][key] for row in rows) for key in ("images", "refused"))
    return {"images": images, "refused": refused, "share": refused / images}


if __name__ == "__main__":
    main()
