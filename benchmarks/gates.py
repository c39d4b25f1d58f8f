"""What the gates let through, on real TRAIN images and generators whose vices are known.

    python benchmarks/gates.py RUN --weights WEIGHTS --out docs/results/gates-busi.json

RUN is the folder of a run that has finished the stages index, audit and split; only its TRAIN part
is read. A fifth of its groups is held out; the gates are calibrated on the rest.

- novelty: altered copies of every remaining image must be refused, held-out images must pass;
- class: held-out images presented under each other class;
- loop: generators that return one image, ten images, images of another class, copies or noise. They
  have no discriminators: every image passes the realism gate, so the other gates stand alone.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonobalance.artefacts import splits_of
from sonobalance.classify.features import extract_features
from sonobalance.config import SynthesisSettings
from sonobalance.data.guard import reading_only
from sonobalance.data.loading import LabelledImages, load_images
from sonobalance.files import write_json
from sonobalance.gan.sampling import Parents, Samples
from sonobalance.randomness import derive, numpy_generator
from sonobalance.runs import environment, open_run
from sonobalance.synthesis.copies import altered_copies
from sonobalance.synthesis.grow import grow
from sonobalance.synthesis.yardstick import Yardstick

HELD_OUT = 0.2
QUICK = {"rounds": 2, "pool_factor": 1.0, "cap_share": 0.5, "inner_repeats": 1}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the backbone")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="any timm name")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/gates-busi.json"))
    return parser.parse_args()


class Remembered:
    """Features that are computed once per image: vicious generators repeat themselves."""

    def __init__(self, extract: Any) -> None:
        self.extract, self.known = extract, {}

    def __call__(self, images: LabelledImages) -> np.ndarray:
        """(N, F) features."""
        keys = [hashlib.sha256(p.numpy().tobytes()).digest() for p in images.pixels]
        new = [i for i, key in enumerate(keys) if key not in self.known]
        if new:
            found = self.extract(images.take(new))
            self.known |= {keys[i]: row for i, row in zip(new, found, strict=True)}
        return np.stack([self.known[key] for key in keys])


class Returning:
    """A generator that draws from given images of each class; no discriminators."""

    fingerprint, learnt = "stub", ()

    def __init__(self, images: LabelledImages, different: int = 0, step: int = 0) -> None:
        self.images, self.different, self.step = images, different, step

    def advance(self, number: int, accepted: LabelledImages | None = None) -> None:
        """It never learns."""

    def sample(self, targets: torch.Tensor, *, seed: int, truncation: float = 1.0) -> Samples:
        """One image per target."""
        classes = len(self.images.classes)
        pixels = torch.cat([
            self.pixels_of((k + self.step) % classes, seed, i)[None]
            for i, k in enumerate(targets.tolist())
        ])  # fmt: skip
        return Samples(pixels, (Parents((), ()),) * len(targets))

    def pixels_of(self, target: int, seed: int, index: int) -> torch.Tensor:
        """(1, S, S) uint8."""
        rows = torch.nonzero(self.images.targets == target).flatten()
        rows = rows[: self.different] if self.different else rows
        return self.images.pixels[rows[index % len(rows)]]

    def log_ratios(self, pixels: torch.Tensor, targets: torch.Tensor) -> tuple:
        """It has no discriminators: every image looks alike to them."""
        return torch.zeros(len(pixels)), torch.zeros(len(pixels))


class Noise(Returning):
    """White noise."""

    def pixels_of(self, target: int, seed: int, index: int) -> torch.Tensor:
        """(1, S, S) uint8."""
        rng = numpy_generator(seed, "noise", index)
        shape = tuple(self.images.pixels.shape[1:])
        return torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))


class Copying(Returning):
    """TRAIN images, each altered in one of the ways of `altered_copies`."""

    def pixels_of(self, target: int, seed: int, index: int) -> torch.Tensor:
        """(1, S, S) uint8."""
        image = super().pixels_of(target, seed, index)
        copies = altered_copies(image[None], derive(seed, index))
        return list(copies.values())[index % len(copies)][0]


def held_out(images: LabelledImages, groups: list[str], seed: int) -> np.ndarray:
    """Whether each image is held out: whole groups, at random."""
    names = np.unique(groups)
    chosen = numpy_generator(seed, "gates", "held out").permutation(names)
    return np.isin(groups, chosen[: round(HELD_OUT * len(names))])


def novelty_table(yardstick: Yardstick, unseen: LabelledImages, seed: int) -> dict[str, Any]:
    novelty = yardstick.gates.novelty
    copies = altered_copies(yardstick.train.pixels, derive(seed, "benchmark"))
    rejected = {}
    for kind, pixels in copies.items():
        distance, place = novelty.score(pixels)
        rejected[kind] = {
            "rejected": float(np.mean(distance < novelty.threshold.value)),
            "original_named": float(np.mean(place.numpy() == np.arange(len(place)))),
            "copies": len(pixels),
        }
    distance, _ = novelty.score(unseen.pixels)
    return {
        "threshold": novelty.threshold.value,
        "altered_copies": rejected,
        "held_out_rejected": float(np.mean(distance < novelty.threshold.value)),
        "held_out_images": len(unseen),
    }


def class_table(yardstick: Yardstick, unseen: LabelledImages) -> dict[str, Any]:
    """Held-out images under their own and under every other class."""
    gates = yardstick.gates
    features = gates.features(unseen)
    _, near = gates.novelty.score(unseen.pixels)
    targets, out = unseen.targets.numpy(), {}
    refused_others = []
    for k, label in enumerate(unseen.classes):
        probability = gates.class_probability(features, k, near.tolist())
        refused = ~gates.class_match.admits(probability, k)
        refused_others += refused[targets != k].tolist()
        out[label] = {
            "own_passed": float(np.mean(~refused[targets == k])),
            "others_rejected": float(np.mean(refused[targets != k])),
        }
    return {"classes": out, "swapped_rejected": float(np.mean(refused_others))}


def loop(
    generator: Any, train: LabelledImages, groups: list[str], features: Any, seed: int
) -> dict[str, Any]:
    settings = SynthesisSettings(**QUICK)
    with tempfile.TemporaryDirectory() as folder:
        growth = grow(train, groups, generator, features, settings, seed=seed, folder=Path(folder))
        rows = (Path(folder) / "selection.csv").read_text().count("\n") - 1
        reasons = Counter(
            line.split(",")[-1].split(":")[0]
            for line in (Path(folder) / "selection.csv").read_text().splitlines()[1:]
        )
    return {
        "stop_reason": growth.reason,
        "candidates": rows,
        "accepted": growth.manifest.counts,
        "reasons": dict(reasons),
    }


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    run = open_run(given.run)
    splits = splits_of(run)
    part = splits.of("train")
    with reading_only(part):
        images = load_images(part, given.size, splits.manifest.classes)
    groups = [splits.group[key] for key in images.ids]
    away = held_out(images, groups, given.seed)
    train, unseen = images.take(np.flatnonzero(~away)), images.take(np.flatnonzero(away))
    kept = [g for g, out in zip(groups, away, strict=True) if not out]
    features = Remembered(partial(extract_features, backbone=given.backbone, weights=given.weights))
    yardstick = Yardstick.of(
        train, kept, features, SynthesisSettings(), seed=given.seed, device="cpu"
    )
    document = {
        "command": "python benchmarks/gates.py RUN --weights mobilenetv2_100.safetensors",
        "data": run.source.name,
        "train_images": len(train),
        "size_px": given.size,
        "seed": given.seed,
        "environment": environment(),
        "novelty": novelty_table(yardstick, unseen, given.seed),
        "class": class_table(yardstick, unseen),
    }
    vices = {
        "one image": Returning(unseen, 1),
        "ten images": Returning(unseen, 10),
        "another class": Returning(unseen, step=1),
        "copies": Copying(train),
        "noise": Noise(train),
    }
    document["loop"] = {}
    for name, generator in vices.items():
        document["loop"][name] = loop(generator, train, kept, features, given.seed)
        write_json(given.out, document)


if __name__ == "__main__":
    main()
