"""What generated pairs of image and lesion mask are worth to a network that outlines lesions.

    sonobalance index BUSI --out RUN; sonobalance audit BUSI --out RUN; sonobalance split RUN
    sonobalance train-gan RUN --weights WEIGHTS --gan.synthesize-masks
    python benchmarks/mask_value.py RUN --weights WEIGHTS --out FILE.json

Pairs are drawn from the GAN, as many of each class as TRAIN has, without any gate. The network is
the classifier's outline decoder, at `SIDE` px, on its pretrained backbone, which stays as it is and
is asked once for each image and its mirror image; each training takes the same number of steps with

    real                the images of TRAIN
    synthetic           the pairs alone, brought from the generator's side to `SIDE`
    real shrunk         TRAIN through the generator's side and back: what its pixels can give
    real + synthetic    both, half of each batch from either

and is measured on VAL and TEST, which neither GAN nor network has seen and on which nothing is
chosen: Dice (0 to 1) of each image with a lesion at a threshold of one half, the mean over seeds;
intervals by resampling groups. `false_alarm` is the share of images without a lesion in which
something is outlined. Beside it, of real and of generated pairs: how much of the image the mask
fills, the share of it in its largest piece, and by how much the inside is darker than a ring of the
same width as the lesion's radius, in grey levels.
"""

from __future__ import annotations

import argparse
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from sonobalance.artefacts import splits_of
from sonobalance.classify.lesion import LesionHead, outline_loss
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.schedule import cosine_factor
from sonobalance.classify.weights import load_backbone
from sonobalance.data.guard import reading_only
from sonobalance.data.images import write_png
from sonobalance.data.loading import LabelledImages, Outlines, load_images, to_pixels, to_unit
from sonobalance.environment import environment
from sonobalance.evaluation.intervals import group_weights, mean_interval
from sonobalance.files import write_json
from sonobalance.gan.framing import resize
from sonobalance.gan.sampling import Sampler
from sonobalance.progress import track
from sonobalance.randomness import numpy_generator, seed_torch, torch_generator
from sonobalance.runs import open_run

SIDE, BATCH = 160, 16
OUTLINE_LR, DECAY, WARMUP = 2e-3, 0.01, 0.05
RESAMPLES, CONFIDENCE = 2000, 0.95


@dataclass(frozen=True)
class Seen:
    """What the backbone says of images: feature maps (N, C_i, h_i, w_i), masks (N, 1, S, S)."""

    levels: list[torch.Tensor]
    masks: torch.Tensor

    def rows(self, index: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Maps and masks in [0, 1] of these images."""
        return [level[index] for level in self.levels], self.masks[index] / 255


Pairs = list[tuple[Seen, float]]  # sets, and the share of each batch from each


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the backbone")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="any timm name")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--sheet", type=Path, help="PNG of pairs, to look at")
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args()


def brought(images: LabelledImages, side: int) -> LabelledImages:
    """Images and masks at another side, bicubic."""
    truth = images.known_outlines()
    masks = to_pixels(resize(to_unit(truth.masks), side, side))
    pixels = to_pixels(resize(to_unit(images.pixels), side, side))
    return replace(images, pixels=pixels, outlines=Outlines(masks, truth.known))


def generated(run: Any, like: LabelledImages) -> LabelledImages:
    """As many pairs of each class as there are in `like`, at the generator's side."""
    sampler = Sampler.load(run.path("gan/snapshot.safetensors"), torch.device("cpu"))
    made = sampler.sample(like.targets, seed=run.settings.seed)
    if made.masks is None:
        raise SystemExit(f"The GAN of {run.folder} makes no masks; train it with them.")
    ids = tuple(f"synthetic-{i}" for i in range(len(like)))
    known = torch.ones(len(like), dtype=torch.bool)
    return LabelledImages(made.pixels, like.targets, ids, like.classes, Outlines(made.masks, known))


def inside(images: LabelledImages) -> NDArray[np.bool_]:
    """(N, S, S): where the lesion is."""
    return np.asarray((images.known_outlines().masks[:, 0] > 127).numpy())


def plausibility(images: LabelledImages) -> dict[str, Any]:
    """What the masks look like, of each class: medians over the images that have one."""
    masks, out = inside(images), {}
    for k, label in enumerate(images.classes):
        mine = np.flatnonzero((images.targets == k).numpy())
        seen = [_look(images.pixels[i, 0].numpy(), masks[i]) for i in mine if masks[i].any()]
        medians = np.median(seen, axis=0).tolist() if seen else [None] * 3
        names = ("area_share", "largest_piece", "darker_inside")
        with_one = len(seen) / len(mine)
        out[label] = {
            "n": len(mine),
            "with_mask": with_one,
            **dict(zip(names, medians, strict=True)),
        }
    return out


def _look(pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Share of the image, share in the largest piece, grey levels that a ring is lighter by."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    radius = max(1, round(float(np.sqrt(mask.sum() / np.pi))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    ring = cv2.dilate(mask.astype(np.uint8), kernel).astype(bool) & ~mask
    lighter = pixels[ring].mean() - pixels[mask].mean() if ring.any() else np.nan
    return mask.mean(), stats[1:, cv2.CC_STAT_AREA].max() / mask.sum(), lighter


@torch.no_grad()
def seen(network: AttentiveClassifier, images: LabelledImages, *, mirror: bool = True) -> Seen:
    """Feature maps of images and, where asked for, of their mirror images."""
    pixels, masks = images.pixels, images.known_outlines().masks
    if mirror:
        pixels, masks = (torch.cat([x, x.flip(3)]) for x in (pixels, masks))
    parts = track(to_unit(pixels).split(BATCH), "features", math.ceil(len(pixels) / BATCH))
    maps = [network._look(part).levels for part in parts]
    return Seen([torch.cat(level) for level in zip(*maps, strict=True)], masks)


def outliner(network: AttentiveClassifier, pairs: Pairs, steps: int, seed: int) -> LesionHead:
    """A decoder that has learnt to outline lesions from these pairs."""
    seed_torch(seed, "outliner")
    assert network.lesion is not None
    head = LesionHead(network.lesion.channels[:-1], network.lesion.channels[-1], 1)
    optimiser = torch.optim.AdamW(head.parameters(), OUTLINE_LR, weight_decay=DECAY)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = OUTLINE_LR * cosine_factor(step, steps, WARMUP)
        random = torch_generator(seed, "outliner", step)
        drawn = [
            of.rows(torch.randint(len(of.masks), (round(share * BATCH),), generator=random))
            for of, share in pairs
        ]
        levels = [torch.cat(level) for level in zip(*(maps for maps, _ in drawn), strict=True)]
        masks = torch.cat([masks for _, masks in drawn])
        loss = outline_loss(head.outline(levels), masks, torch.ones(BATCH, dtype=torch.bool))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return head.eval()


@torch.no_grad()
def outlined(head: LesionHead, of: Seen) -> NDArray[np.bool_]:
    """(N, S, S)."""
    logits = head.outline(of.levels)
    return (interpolate(logits, size=(SIDE, SIDE), mode="bilinear")[:, 0] > 0).numpy()


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N, S, S) twice → (N,), Dice 1945; 0 where only one is empty."""
    shared, both = (a & b).sum((1, 2)), a.sum((1, 2)) + b.sum((1, 2))
    return np.asarray(2 * shared / np.maximum(both, 1), np.float64)


@dataclass(frozen=True)
class Judge:
    """Images that nobody has seen: which have a lesion, and where."""

    of: Seen
    truth: NDArray[np.bool_]
    groups: NDArray[np.str_]

    def measure(self, heads: list[LesionHead]) -> dict[str, NDArray[np.float64]]:
        """Dice of each image with a lesion, and the false alarms in the others; over seeds."""
        lesion = self.truth.any((1, 2))
        found = [outlined(head, self.of) for head in heads]
        return {
            "dice": np.mean([dice(f[lesion], self.truth[lesion]) for f in found], 0),
            "false_alarm": np.mean([f[~lesion].any((1, 2)) for f in found], 0),
        }

    def weights(self) -> NDArray[np.float64]:
        """Resamples of the groups of the images with a lesion."""
        mine = self.groups[self.truth.any((1, 2))]
        return group_weights(mine, RESAMPLES, numpy_generator(0, "masks"))


def interval(values: NDArray[np.float64], weights: NDArray[np.float64]) -> dict[str, Any]:
    """The mean and its interval over groups."""
    return mean_interval(values, weights, CONFIDENCE).as_json()


def sheet(sets: list[LabelledImages], path: Path) -> None:
    """A row of images above a row of their masks for each set."""
    rows = []
    for images in sets:
        lesion = np.flatnonzero(inside(images).any((1, 2)))
        some = lesion[np.linspace(0, len(lesion) - 1, 12).astype(int)]
        pictures = (images.pixels[some, 0], images.known_outlines().masks[some, 0])
        rows += [np.concatenate([*picture.numpy()], 1) for picture in pictures]
    write_png(path, np.concatenate(rows))


def main() -> None:
    """Train on each kind of pairs, and measure."""
    given = arguments()
    run = open_run(given.run)
    splits = splits_of(run)
    small, classes = run.settings.gan.image_size_px, splits.manifest.classes
    train = splits.of("train")
    unseen = splits.manifest.select(r.id for part in ("val", "test") for r in splits.of(part))
    with reading_only(train):
        real, shrunk = (load_images(train, s, classes, outlines=True) for s in (SIDE, small))
    with reading_only(unseen):
        held = load_images(unseen, SIDE, classes, outlines=True)
    made = generated(run, real)
    if given.sheet:
        sheet([shrunk, made], given.sheet)
    network = AttentiveClassifier(given.backbone, 1, "none", SIDE, lesion_attention=True).eval()
    load_backbone(network, given.weights)
    whole = seen(network, real)
    synthetic, soft = (seen(network, brought(images, SIDE)) for images in (made, shrunk))
    sources: dict[str, Pairs] = {
        "real": [(whole, 1.0)],
        "synthetic": [(synthetic, 1.0)],
        "real shrunk": [(soft, 1.0)],
        "real + synthetic": [(whole, 0.5), (synthetic, 0.5)],
    }
    groups = np.array([splits.group[key] for key in held.ids])
    judge = Judge(seen(network, held, mirror=False), inside(held), groups)
    weights, found = judge.weights(), {}
    for name, pairs in sources.items():
        heads = [outliner(network, pairs, given.steps, seed) for seed in given.seeds]
        found[name] = judge.measure(heads)
        print(name, {key: round(float(value.mean()), 4) for key, value in found[name].items()})
    write_json(given.out, {
        "what": __doc__,
        "command": " ".join(["python benchmarks/mask_value.py", *sys.argv[1:]]),
        "gan": run.settings.gan.model_dump(mode="json"),
        "images": {"train": len(train), "unseen": len(held), "lesions": weights.shape[1]},
        "side": SIDE, "seeds": given.seeds, "steps": given.steps, "environment": environment(),
        "pairs": {"real": plausibility(shrunk), "synthetic": plausibility(made)},
        "dice": {name: interval(value["dice"], weights) for name, value in found.items()},
        "less_than_real": {
            name: interval(found["real"]["dice"] - value["dice"], weights)
            for name, value in found.items() if name != "real"
        },
        "false_alarm": {n: float(v["false_alarm"].mean()) for n, v in found.items()},
    })  # fmt: skip


if __name__ == "__main__":
    main()
