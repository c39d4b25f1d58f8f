"""What synthetic images of a scarce class are worth to a classifier, and what stands in their way.

    sonobalance benchmark BUSI --out BENCHMARK --scarce 0.25 --arms none --arms dual-iterative ...
    python benchmarks/synthesis_value.py BENCHMARK... --weights WEIGHTS --out FILE.json

Reads TRAIN and VAL of each fold of BENCHMARK, the accepted synthetic images of its GAN, and the
real images of the scarce class that were left out; never TEST. A logistic regression on frozen
features of images and their mirrors, its classes weighing the same, is fitted to TRAIN and some
more images of the scarce class, which get a share of the class's weight:

    nothing         TRAIN alone
    synthetic       what the loop accepted
    left out        real images that scarcity took away
    left out small  the same shrunk to the generator's side: what a perfect one could give
    ... enlarged    either of the two above brought to the classifier's side by the run's enlarger
    noise           in features: the class's mean in TRAIN, and Gaussian noise of the mean spread
    others          in features: images of the other classes, moved to the mean of this one

`seen`: `whole`, real images as the classifier sees them and synthetic ones resampled, or `small`,
all at the generator's side, VAL too. GANs of several sides are told apart.
`moved`: the added features are shifted to the mean of the class in TRAIN, which takes away what all
synthetic images share. Scores are of VAL, its classes weighing the same; the difference of the
log-loss to `nothing` of the same view has an interval over groups (95 %, percentile bootstrap).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import recall_score, roc_auc_score

from sonobalance.artefacts import splits_of
from sonobalance.classify.features import extract_features
from sonobalance.classify.probe import fit_probe
from sonobalance.data.guard import reading_only
from sonobalance.data.loading import load_images
from sonobalance.data.manifest import Manifest
from sonobalance.environment import environment
from sonobalance.files import read_json, write_json
from sonobalance.randomness import numpy_generator
from sonobalance.runs import Run, open_run
from sonobalance.synthesis.enlarger import ENLARGER, enlarged, load_enlarger
from sonobalance.synthesis.summary import training_images

C = 0.003
SHARES = (0.2, 0.5, 0.8)
RESAMPLES = 2000
WHOLE, SMALL = "whole", "small"
Features = NDArray[np.float64]  # (2, N, F): of the images and of their mirrors


@dataclass(frozen=True)
class Fold:
    """Features of one fold at one view.

    Attributes:
        train, val: of the real images.
        y, y_val: their classes.
        groups: of VAL.
        added: source → features of more images of the scarce class.
    """

    train: Features
    val: Features
    y: NDArray[np.int64]
    y_val: NDArray[np.int64]
    groups: NDArray[np.str_]
    added: dict[str, Features]


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description="What synthetic images are worth")
    parser.add_argument("benchmarks", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the backbone")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="any timm name")
    parser.add_argument("--scarce", default="malignant", help="the class that was made scarcer")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


class Reader:
    """Features of a fold's images at any side."""

    def __init__(self, run: Run, base: Run, given: argparse.Namespace) -> None:
        self.run, self.given, splits = run, given, splits_of(run)
        self.small = run.settings.gan.image_size_px
        self.classes = splits.manifest.classes
        self.scarce = self.classes.index(given.scarce)
        usable = {key for key, part in splits_of(base).part.items() if part != "excluded"}
        made = training_images(run.path("synthesis"), every_round=True)
        self.parts: dict[str, Manifest] = {
            "train": splits.of("train"),
            "val": splits.of("val"),
            "left out": splits.manifest.select(
                r.id for r in splits.of("excluded") if r.id in usable and r.label == given.scarce
            ),
            "synthetic": made.select(r.id for r in made if r.label == given.scarce),
        }
        self.groups = np.array([splits.group[key] for key in self.parts["val"].ids])
        self.targets = {
            name: np.array([self.classes.index(r.label) for r in part])
            for name, part in self.parts.items()
        }
        path = run.path(f"synthesis/{ENLARGER}")
        self.enlarger = load_enlarger(path) if path.is_file() else None
        self.known: dict[tuple[str, int, bool], Features] = {}

    def features(self, name: str, side: int, *, enlarge: bool = False) -> Features:
        """Of one part; the side is that of the images before the backbone resamples them."""
        if (name, side, enlarge) not in self.known:
            with reading_only(self.parts[name]):
                images = load_images(self.parts[name], side, self.classes)
            if enlarge and self.enlarger:
                images = enlarged(images, self.enlarger)
            mirror = replace(images, pixels=images.pixels.flip(3))
            self.known[name, side, enlarge] = np.stack([
                extract_features(view, self.given.backbone, self.given.weights).astype(np.float64)
                for view in (images, mirror)
            ])  # fmt: skip
        return self.known[name, side, enlarge]

    def fold(self, seen: str) -> Fold:
        """The fold at one view."""
        side = self.small if seen == SMALL else self.run.settings.classifier.image_size_px
        train, y = self.features("train", side), self.targets["train"]
        added = {
            "left out": self.features("left out", side),
            "left out small": self.features("left out", self.small),
            "synthetic": self.features("synthetic", self.small),
            "noise": self._noise(train, y),
            "others": self._others(train, y),
        }
        if seen == SMALL:
            added.pop("left out small")
        elif self.enlarger:
            more = {"left out small enlarged": "left out", "synthetic enlarged": "synthetic"}
            added |= {k: self.features(v, self.small, enlarge=True) for k, v in more.items()}
        return Fold(train, self.features("val", side), y, self.targets["val"], self.groups, added)

    def _noise(self, train: Features, y: NDArray[np.int64]) -> Features:
        spread = np.sqrt(np.mean([train[:, y == k].var((0, 1)) for k in np.unique(y)], 0))
        shape = (2, len(self.parts["synthetic"]), train.shape[2])
        drawn = numpy_generator(0, "noise").standard_normal(shape)
        return train[:, y == self.scarce].mean((0, 1)) + spread * drawn

    def _others(self, train: Features, y: NDArray[np.int64]) -> Features:
        apart = [
            train[:, y == k] - train[:, y == k].mean((0, 1))
            for k in np.unique(y)
            if k != self.scarce
        ]
        return train[:, y == self.scarce].mean((0, 1)) + np.concatenate(apart, 1)


def probabilities(
    fold: Fold, source: str | None, scarce: int, *, share: float = 0.0, moved: bool = False
) -> NDArray[np.float64]:
    """(N, K) of VAL by a regression on TRAIN and what is added."""
    more = fold.added[source] if source else fold.train[:, :0]
    if moved:
        more = more - more.mean((0, 1)) + fold.train[:, fold.y == scarce].mean((0, 1))
    x = np.concatenate([*fold.train, *more])
    y = np.concatenate([fold.y, fold.y, np.full(2 * more.shape[1], scarce)])
    made = np.arange(len(y)) >= 2 * len(fold.y)
    weights = len(fold.y) / len(np.unique(fold.y)) / np.bincount(y[~made])[y]
    weights[~made & (y == scarce)] *= 1 - share
    weights[made] *= share * (~made & (y == scarce)).sum() / max(made.sum(), 1)
    return fit_probe(x, y, c=C, weights=weights).probabilities(fold.val.mean(0))


def measured(
    folds: list[Fold],
    found: list[NDArray[np.float64]],
    plain: list[NDArray[np.float64]],
    scarce: int,
) -> dict[str, Any]:
    """Scores on VAL of all folds."""
    y, p, p0 = (np.concatenate(part) for part in ([f.y_val for f in folds], found, plain))
    recalls = recall_score(y, p.argmax(1), average=None)
    aucs = [roc_auc_score(f.y_val, q, multi_class="ovr") for f, q in zip(folds, found, strict=True)]
    weights, rows = 1 / np.bincount(y)[y] / len(np.unique(y)), np.arange(len(y))
    losses, before = (-weights * np.log(q[rows, y]) for q in (p, p0))
    value, low, high = _interval(losses - before, np.concatenate([f.groups for f in folds]))
    return {
        "macro_auc": float(np.mean(aucs)),
        "balanced_accuracy": float(recalls.mean()),
        "recall": float(recalls[scarce]),
        "log_loss": float(losses.sum()),
        "log_loss_difference": {"value": value, "low": low, "high": high},
    }


def _interval(
    differences: NDArray[np.float64], groups: NDArray[np.str_]
) -> tuple[float, float, float]:
    """The sum of the differences, and its 95 % interval with whole groups drawn."""
    _, index = np.unique(groups, return_inverse=True)
    sums = np.bincount(index, differences)
    random = numpy_generator(0, "bootstrap")
    draws = random.multinomial(len(sums), [1 / len(sums)] * len(sums), RESAMPLES)
    low, high = np.quantile(draws @ sums, [0.025, 0.975])
    return float(sums.sum()), float(low), float(high)


def rows_of(readers: list[Reader], seen: str) -> Iterator[dict[str, Any]]:
    """Every source, share and shift at one view."""
    folds, scarce = [reader.fold(seen) for reader in readers], readers[0].scarce
    plain = [probabilities(fold, None, scarce) for fold in folds]
    row = {
        "generator_px": readers[0].small,
        "seen": seen,
        "added": "nothing",
        "share": 0.0,
        "moved": False,
    }
    yield row | measured(folds, plain, plain, scarce)
    for source in folds[0].added:
        shifts = (False,) if source in {"noise", "others"} else (False, True)
        for share, moved in product(SHARES, shifts):
            found = [probabilities(f, source, scarce, share=share, moved=moved) for f in folds]
            how = {"added": source, "share": share, "moved": moved}
            yield row | how | measured(folds, found, plain, scarce)


def main() -> None:
    """Measure every source at every view."""
    given = arguments()
    readers = [
        Reader(open_run(unit), open_run(benchmark / "base"), given)
        for benchmark in given.benchmarks
        for unit in sorted((benchmark / "units").glob("gan-*"))
    ]
    by_side = {side: [r for r in readers if r.small == side] for side in {r.small for r in readers}}
    rows = []
    for side, seen in product(sorted(by_side), (WHOLE, SMALL)):
        for row in rows_of(by_side[side], seen):
            rows.append(row)
            print(row, flush=True)
    write_json(given.out, {
        "what": __doc__,
        "command": "python benchmarks/synthesis_value.py BENCHMARK... --weights "
        f"{given.weights.name} --out docs/results/{given.out.name}",
        "benchmarks": [read_json(b / "benchmark.json")["command"] for b in given.benchmarks],
        "gan": {
            side: mine[0].run.settings.gan.model_dump(mode="json")
            for side, mine in by_side.items()
        },
        "scarce": given.scarce, "c": C,
        "images": [
            {"generator_px": reader.small}
            | {name: np.bincount(targets, minlength=len(reader.classes)).tolist()
               for name, targets in reader.targets.items()}
            for reader in readers
        ],
        "environment": environment(), "rows": rows,
    })  # fmt: skip


if __name__ == "__main__":
    main()
