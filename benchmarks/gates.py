"""What the gates let through, on real TRAIN images and generators whose vices are known.

    python benchmarks/gates.py RUN --weights WEIGHTS --out docs/results/gates-busi.json

RUN is the folder of a run that has finished the stages index, audit and split; only its TRAIN part
is read. A fifth of its groups is held out; the gates are calibrated on the rest.

- novelty: altered copies of every remaining image must be refused, held-out images must pass;
- class: held-out images presented under each other class;
- loop: generators that return one image, ten images, images of another class, copies or noise. They
  have no discriminators: every image passes the realism gate, so the other gates stand alone.

A part that stands in the output file is not measured again.
"""

from __future__ import annotations

import argparse
import hashlib
import tempfile
from collections import Counter
from collections.abc import Callable
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
from sonobalance.files import read_json, write_json
from sonobalance.gan.sampling import Parents, Samples
from sonobalance.randomness import derive, numpy_generator
from sonobalance.runs import environment, open_run
from sonobalance.synthesis.copies import altered_copies
from sonobalance.synthesis.gates import ClassMatch
from sonobalance.synthesis.grow import grow
from sonobalance.synthesis.inner import InnerValidation
from sonobalance.synthesis.novelty import Novelty

HELD_OUT = 0.2
COPIED = 128  # TRAIN images that are copied in every way
PARTS = ("novelty", "class", "loop")
QUICK = {"rounds": 2, "pool_factor": 1.0, "cap_share": 0.5, "inner_repeats": 1}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the backbone")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="any timm name")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/gates-busi.json"))
    return parser.parse_args()


class Remembered:
    """Features that are computed once per image: vicious generators repeat themselves."""

    def __init__(self, extract: Any) -> None:
        self.extract = extract
        self.known: dict[bytes, np.ndarray] = {}

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


def novelty_table(
    train: LabelledImages, groups: list[str], unseen: LabelledImages, seed: int
) -> dict[str, Any]:
    """How many altered copies of COPIED TRAIN images are refused, and how many held-out images."""
    settings = SynthesisSettings()
    novelty = Novelty.calibrated(
        train, groups, caught_copies=settings.caught_copies, false_copies=settings.false_copies,
        seed=seed,
    )  # fmt: skip
    rng = numpy_generator(seed, "gates", "copied")
    chosen = np.sort(rng.choice(len(train), min(COPIED, len(train)), replace=False))
    copies = altered_copies(train.pixels[torch.from_numpy(chosen)], derive(seed, "benchmark"))
    rejected = {}
    for kind, pixels in copies.items():
        distance, place = novelty.score(pixels)
        rejected[kind] = {
            "rejected": float(np.mean(distance < novelty.threshold.value)),
            "original_named": float(np.mean(place.numpy() == chosen)),
            "copies": len(pixels),
        }
    distance, _ = novelty.score(unseen.pixels)
    return {
        "threshold": novelty.threshold.value,
        "altered_copies": rejected,
        "held_out_rejected": float(np.mean(distance < novelty.threshold.value)),
        "held_out_images": len(unseen),
    }


def class_table(
    train: LabelledImages, groups: list[str], unseen: LabelledImages, features: Any, seed: int
) -> dict[str, Any]:
    """Held-out images under their own and under every other class.

    No image here has a parent, so that the probe of the first fold judges all of them.
    """
    raw = np.asarray(features(train), np.float64)
    mean, spread = raw.mean(0), np.maximum(raw.std(0), 1e-6)
    known, settings = (raw - mean) / spread, SynthesisSettings()
    inner = InnerValidation.of(known, train.targets.numpy(), groups, settings, seed)
    match = ClassMatch.calibrated(inner.cross_fitted(), train.targets.numpy(), settings)
    probabilities = inner.probes()[0].probabilities((features(unseen) - mean) / spread)
    targets, out = unseen.targets.numpy(), {}
    refused_others = []
    for k, label in enumerate(unseen.classes):
        refused = ~match.admits(probabilities[:, k], k)
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


def started(given: argparse.Namespace, images: LabelledImages, unseen: int) -> dict[str, Any]:
    """What an earlier call measured, or the head of a new document."""
    if given.out.is_file():
        found: dict[str, Any] = read_json(given.out)
        return found
    return {
        "command": "python benchmarks/gates.py RUN --weights mobilenetv2_100.safetensors",
        "data": open_run(given.run).source.name,
        "train_images": len(images),
        "held_out_images": unseen,
        "size_px": given.size,
        "seed": given.seed,
        "environment": environment(),
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
    document = started(given, train, len(unseen))
    for name, measure in measures(train, kept, unseen, features, given.seed).items():
        if name.split(":")[0] in given.parts and name not in document:
            document[name] = measure()
            write_json(given.out, document)


def measures(
    train: LabelledImages, groups: list[str], unseen: LabelledImages, features: Any, seed: int
) -> dict[str, Callable[[], dict[str, Any]]]:
    """Each part of the benchmark by name; parts that are in the document are not repeated."""
    vices = {
        "one image": Returning(unseen, 1),
        "ten images": Returning(unseen, 10),
        "another class": Returning(unseen, step=1),
        "copies": Copying(train),
        "noise": Noise(train),
    }
    loops = {
        f"loop:{name}": partial(loop, vice, train, groups, features, seed)
        for name, vice in vices.items()
    }
    return {
        "novelty": partial(novelty_table, train, groups, unseen, seed),
        "class": partial(class_table, train, groups, unseen, features, seed),
        **loops,
    }


if __name__ == "__main__":
    main()
