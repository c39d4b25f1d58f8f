"""Per-class quality of the GAN's objectives and of `lightweight-gan`, beside real-versus-real.

    python benchmarks/gan_quality.py RUN --weights WEIGHTS --minutes 10 --out FILE.json

RUN is a folder with the stages index, audit and split done; only its TRAIN part is read. The budget
is processor time of one thread, the warm-up, snapshots and their judgement included (on a GPU it is
wall time); rows compare where it is near to wall time, for neighbours on a core slow it down, too.
`lightweight-gan` is not conditional, so that each class gets a third (one over the number of
classes) of the budget. Each class is generated `DRAWS` times over, each time as many images as
TRAIN has: KID compares TRAIN with all of them, the rest is the mean over the draws, so that it
counts less which latents were drawn. Calls for single seeds or methods add their rows to the same
file, if budget, TRAIN, weights and kind of device are the same; each row names its own command and
environment.

Of each method and seed: KID with the standard deviation over subsets of half the smaller side,
density and coverage, and the AUC of a probe that tells real from synthetic images, each beside the
same measure of one real half against the other, halves being made of whole groups. Those halves
have half of the images, or an eighth of the generated ones: KID compares nevertheless, its standard
deviation and the AUC do so in the keys with `half` only, which are of as many images as the halves
have (`gan_measures.py`). `kid_held_back` is KID to the TRAIN images that the method never saw;
beside it belongs `learnt_versus_held_back`, of its seed: KID to them of those that it saw. The
features of `--weights` also serve our GANs (branch, choice of the snapshot); those of `--referee`,
safetensors of `--referee-backbone`, where given, serve nothing but this table. Values depend on the
backbone: compare them within one file only. Finished rows are kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finished import rows_of
from gan_measures import Features, apart_of, floor_of, measures_of, standardised
from lightweight import Rival
from numpy.typing import NDArray

from sonobalance.artefacts import splits_of
from sonobalance.classify.features import extract_features
from sonobalance.data.guard import reading_only
from sonobalance.data.images import write_png
from sonobalance.data.loading import LabelledImages, load_images, to_pixels
from sonobalance.environment import environment
from sonobalance.files import read_json, sha256_of, write_json
from sonobalance.gan.features import eyes_of
from sonobalance.gan.framing import fill, find_frames, refit
from sonobalance.gan.grids import contact_sheet
from sonobalance.gan.held import hold_back
from sonobalance.gan.places import REPORT
from sonobalance.gan.sampling import Sampler
from sonobalance.gan.snapshot import hash_images
from sonobalance.gan.train import train_gan
from sonobalance.randomness import torch_generator
from sonobalance.runs import open_run

__all__ = ["REFEREE", "Features", "Study", "arguments_of_study", "look", "standardised"]
METHODS = ("d2gan", "real_class", "single", "lightweight-gan")
REFEREE = "mobilenet_edgetpu_100"  # the default's name in the tables; it looks as TensorFlow's
REFEREE_BACKBONE = f"tf_{REFEREE}"
DRAWS = 4
RIVAL_BATCH = 4  # its trainer's default; 16 takes 9 GB of memory at 64 px


def arguments_of_study(description: str) -> argparse.ArgumentParser:
    """What a `Study` needs to know."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("run", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the backbone")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="any timm name")
    parser.add_argument("--referee", type=Path, help="safetensors of the referee's backbone")
    parser.add_argument("--referee-backbone", default=REFEREE_BACKBONE, help="any timm name")
    parser.add_argument("--warmup-kimg", type=float, help="instead of the run's setting")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    return parser


def arguments() -> argparse.Namespace:
    parser = arguments_of_study(__doc__.split("\n")[0])
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="of processor time; on a GPU of wall time"
    )
    parser.add_argument(
        "--grids", type=Path, help="folder for all images and grids; never commit it"
    )
    parser.add_argument("--out", type=Path, default=Path("docs/results/gan-quality-busi.json"))
    return parser.parse_args()


class Study:
    """TRAIN, its features, and the measures on them."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.device = given, torch.device(given.device)
        run = open_run(given.run)
        splits = splits_of(run)
        train = splits.of("train")
        changes = {"image_size_px": given.size, "snapshot_kimg": 1.0, "patience_kimg": 1e9}
        if given.warmup_kimg:
            changes["autoencoder_kimg"] = given.warmup_kimg
        self.settings = run.settings.gan.model_copy(update=changes)
        classifier = {"backbone": given.backbone, "weights": given.weights}
        settings = run.settings.model_copy(update={
            "gan": self.settings,
            "classifier": run.settings.classifier.model_copy(update=classifier),
        })  # fmt: skip
        run.settings = settings
        self.eyes = eyes_of(run.settings)
        with reading_only(train):
            self.images = load_images(train, given.size, splits.manifest.classes)
        self.groups = [splits.group[key] for key in self.images.ids]
        self.real = look(self.images, given)

    def header(self) -> dict[str, Any]:
        """What all rows of a file must have in common."""
        given, images = self.given, self.images
        settings = self.settings.model_dump(mode="json", exclude={"total_kimg"})
        return {
            "budget": {"processor_minutes": given.minutes, "size": given.size, "draws": DRAWS,
                       "settings": settings},
            "inputs": {"train": hash_images(images), "weights": sha256_of(given.weights),
                       "referee": given.referee and sha256_of(given.referee),
                       "device": self.device.type},
            "backbone": given.backbone,
            "referee_backbone": referee_of(given)[0],
            "images": {c: int((images.targets == k).sum()) for k, c in enumerate(images.classes)},
        }  # fmt: skip

    def floor(self) -> dict[str, Any]:
        """One half of TRAIN against the other, no group in both."""
        return {key: floor_of(value, self.images, self.groups) for key, value in self.real.items()}

    def held_back(self, seed: int) -> NDArray[np.bool_]:
        """(N,) which images of TRAIN no method of this seed sees."""
        _, held = hold_back(self.images, self.groups, self.settings.held_back, seed)
        return np.isin(self.images.ids, held.images.ids)

    def apart(self, seeds: set[int]) -> dict[str, Any]:
        """By seed and network: what is learnt from against what is held back."""
        return {
            str(seed): {
                key: apart_of(value, self.images, self.held_back(seed), seed)
                for key, value in self.real.items()
            }
            for seed in sorted(seeds)
        }

    def measure(self, fake: LabelledImages, seed: int) -> dict[str, Any]:
        """A method's images against TRAIN and against what it never saw."""
        seen, away = look(fake, self.given), self.held_back(seed)
        return {
            key: measures_of(
                self.real[key], np.split(seen[key], DRAWS), self.images, self.groups,
                away=away, seed=seed,
            )
            for key in seen
        }  # fmt: skip


def look(images: LabelledImages, given: argparse.Namespace) -> dict[str, Features]:
    """Features (N, F) by the name of the network: the backbone's, and the referee's where given."""
    found = {given.backbone: extract_features(images, given.backbone, given.weights)}
    if given.referee:
        backbone, name = referee_of(given)
        found[name] = extract_features(images, backbone, given.referee)
    return {key: value.astype(np.float64) for key, value in found.items()}


def referee_of(given: argparse.Namespace) -> tuple[str, str]:
    """The referee's backbone, the default where the script has no such option, and its name."""
    backbone = getattr(given, "referee_backbone", REFEREE_BACKBONE)
    name = REFEREE if backbone == REFEREE_BACKBONE else backbone
    if given.referee and name == given.backbone:
        sys.exit(f"Expected --referee-backbone to be another network than {name}.")
    return backbone, name


def clock(device: torch.device) -> float:
    """Seconds of processor time; on a GPU of wall time, once it has done what it was asked."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def ours(study: Study, objective: str, seed: int) -> tuple[LabelledImages, dict[str, Any]]:
    """Train one of our objectives within the budget; images and what to record."""
    settings = study.settings.model_copy(update={"objective": objective})
    began, deadline = clock(study.device), 60 * study.given.minutes
    with tempfile.TemporaryDirectory() as name:
        path = train_gan(
            study.images, settings, seed=seed, folder=Path(name), device=study.device,
            total_kimg=1e6, groups=study.groups, eyes=study.eyes,
            goes_on=lambda: clock(study.device) - began < deadline,
        )  # fmt: skip
        seconds, report = clock(study.device) - began, read_json(Path(name) / REPORT)
        wanted = study.images.targets.repeat(DRAWS)
        samples = Sampler.load(path, study.device).sample(wanted, seed=seed)
    keys = ("kimg", "best_kimg", "collapsed", "parameters", "kid_features")
    return _named(study.images, samples.pixels), {
        "processor_seconds": round(seconds, 1), **{key: report[key] for key in keys},
    }  # fmt: skip


def lightweight(study: Study, seed: int) -> tuple[LabelledImages, dict[str, Any]]:
    """One `lightweight-gan` per class, each on its share of the budget; it learns the same images.

    Like our generators it sees images without letterbox bars, mirrored at random; each of its
    images gets the frame of a TRAIN image of the class.
    """
    images, given = study.images, study.given
    fit, _ = hold_back(images, study.groups, study.settings.held_back, seed)
    frames = find_frames(images.pixels)
    pixels, steps, spent = images.pixels.repeat(DRAWS, 1, 1, 1), {}, 0.0
    for k, label in enumerate(images.classes):
        began = clock(study.device)
        of = fit.pixels[fit.targets == k]
        real = (fill(of, find_frames(of)) + 1) / 2
        rival = Rival(given.size, RIVAL_BATCH, seed, study.device)
        random = torch_generator(seed, "lightweight-gan", label)
        while clock(study.device) - began < 60 * given.minutes / len(images.classes):
            drawn = real[torch.randint(len(real), (rival.batch_size,), generator=random)]
            flips = torch.randint(2, (len(drawn), 1, 1, 1), generator=random).bool()
            rival.step(torch.where(flips, drawn.flip(3), drawn).to(study.device))
        steps[label], spent = rival.steps, spent + clock(study.device) - began
        mine = images.targets.repeat(DRAWS) == k
        made = rival.generate(int(mine.sum())) * 2 - 1
        pixels[mine] = to_pixels(refit(made, frames.repeat(DRAWS, 1)[mine]))
    count = sum(p.numel() for p in rival.gan.G.parameters())
    judge = sum(p.numel() for p in rival.gan.D.parameters())
    return _named(images, pixels), {
        "processor_seconds": round(spent, 1),
        "kimg": {k: n * RIVAL_BATCH / 1000 for k, n in steps.items()},
        "parameters": {"G": count, "D": judge},
    }  # fmt: skip


def _named(images: LabelledImages, pixels: torch.Tensor) -> LabelledImages:
    """DRAWS times the images of each class that TRAIN has, in its order each time."""
    ids = tuple(f"synthetic-{i}" for i in range(len(pixels)))
    return LabelledImages(pixels, images.targets.repeat(DRAWS), ids, images.classes)


def row_of(study: Study, method: str, seed: int) -> dict[str, Any]:
    """One method with one seed: trained, drawn from, measured."""
    began, given = time.monotonic(), study.given
    if method == "lightweight-gan":
        fake, facts = lightweight(study, seed)
    else:
        fake, facts = ours(study, method, seed)
    wall = round(time.monotonic() - began, 1)
    if given.grids:
        given.grids.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(given.grids / f"{method}-{seed}.npz", pixels=fake.pixels)
        real = study.images
        sheet = contact_sheet(real.pixels, real.targets, fake.pixels, fake.targets, 12)
        write_png(given.grids / f"{method}-{seed}.png", sheet)
    return {
        "method": method, "seed": seed, **facts, "wall_seconds": wall,
        "command": " ".join(["python benchmarks/gan_quality.py", *sys.argv[1:]]),
        "environment": environment(), "features": study.measure(fake, seed),
    }  # fmt: skip


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    study = Study(given)
    header = study.header()
    for seed, method in product(given.seeds, given.methods):
        if any((r["method"], r["seed"]) == (method, seed) for r in rows_of(given.out, header)):
            continue
        row = row_of(study, method, seed)
        rows = [*rows_of(given.out, header), row]  # another call may have added some
        write_json(given.out, {
            "what": __doc__,
            "command": "; ".join(dict.fromkeys(row["command"] for row in rows)),
            **header,
            "weights": given.weights.name, "referee": given.referee and given.referee.name,
            "real_versus_real": study.floor(),
            "learnt_versus_held_back": study.apart({row["seed"] for row in rows}),
            "rows": rows,
        })  # fmt: skip


if __name__ == "__main__":
    main()
