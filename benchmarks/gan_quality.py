"""Per-class quality of the GAN's objectives at equal computing time, beside real-versus-real.

    python benchmarks/gan_quality.py RUN --weights WEIGHTS --minutes 10 --out FILE.json

RUN is the folder of a run that has finished the stages index, audit and split; only its TRAIN part
is read. Every objective has the same warm-up; then it trains until it has used `--minutes` of
processor time (all threads together), the warm-up included. As many images of each class are
generated as TRAIN has. The kernel distance depends on the backbone: compare within one file only.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from sonobalance.classify.features import cross_fitted, extract_features
from sonobalance.config import GanSettings
from sonobalance.data.guard import reading_only
from sonobalance.data.loading import LabelledImages, load_images
from sonobalance.files import read_json, write_json
from sonobalance.gan.sampling import Sampler
from sonobalance.gan.train import REPORT, train_gan
from sonobalance.runs import environment, open_run
from sonobalance.stages import splits_of
from sonobalance.synthesis.fidelity import measure_fidelity


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the backbone")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="any timm name")
    parser.add_argument("--objectives", nargs="+", default=["d2gan", "single"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=Path("docs/results/gan-quality-cpu.json"))
    return parser.parse_args()


def train_for(
    minutes: float,
    images: LabelledImages,
    settings: GanSettings,
    *,
    seed: int,
    device: torch.device,
    folder: Path,
) -> tuple[Sampler, float]:
    """Train, snapshot by snapshot, until the processor time is used up."""
    began, kimg = time.process_time(), 0.0
    while time.process_time() - began < 60 * minutes:
        kimg += settings.snapshot_kimg
        path = train_gan(images, settings, seed=seed, folder=folder, device=device, total_kimg=kimg)
        if read_json(folder / REPORT)["collapsed"]:
            break
    return Sampler.load(path, device), time.process_time() - began


def generate(sampler: Sampler, images: LabelledImages, seed: int) -> LabelledImages:
    """As many images of each class as there are real ones."""
    samples = sampler.sample(images.targets, seed=seed)
    ids = tuple(f"synthetic-{i}" for i in range(len(images)))
    return LabelledImages(samples.pixels, images.targets, ids, images.classes)


def compare(
    real: np.ndarray, fake: np.ndarray, images: LabelledImages, groups: list[str], seed: int
) -> dict[str, Any]:
    """Fidelity of each class, and how well a probe tells real from synthetic images."""
    mean, spread = real.mean(0), real.std(0) + 1e-6
    real, fake = (real - mean) / spread, (fake - mean) / spread
    classes = {}
    for target, label in enumerate(images.classes):
        mine = (images.targets == target).numpy()
        its = [group for group, keep in zip(groups, mine, strict=True) if keep]
        found = measure_fidelity(label, real[mine], its, fake[mine], seed=seed, memorisation=0.0)
        if found is not None:
            classes[label] = {k: v for k, v in asdict(found).items() if k != "memorisation"}
    both = np.concatenate([real, fake])
    is_fake = np.repeat([0, 1], [len(real), len(fake)])
    relatives = np.array([*groups, *(f"synthetic-{i}" for i in range(len(fake)))])
    told = cross_fitted(both, is_fake, relatives, seed=seed)[:, 1]
    return {"classes": classes, "real_or_synthetic_auc": float(roc_auc_score(is_fake, told))}


def main() -> None:
    given = arguments()
    run, device = open_run(given.run), torch.device(given.device)
    splits = splits_of(run)
    train = splits.of("train")
    base = run.settings.gan.model_copy(update={"image_size_px": given.size})
    rows = []
    with reading_only(train):
        images = load_images(train, given.size, splits.manifest.classes)
    groups = [splits.group[key] for key in images.ids]
    look = {"backbone": given.backbone, "weights": given.weights, "device": device}
    real = extract_features(images, **look)
    for seed in given.seeds:
        for objective in given.objectives:
            settings = base.model_copy(update={"objective": objective})
            with tempfile.TemporaryDirectory() as folder:
                sampler, seconds = train_for(
                    given.minutes, images, settings, seed=seed, device=device, folder=Path(folder)
                )
                report = read_json(Path(folder) / REPORT)
            fake = extract_features(generate(sampler, images, seed), **look)
            row = {"objective": objective, "seed": seed, "processor_seconds": round(seconds, 1)}
            row |= {key: report[key] for key in ("kimg", "best_kimg", "collapsed", "parameters")}
            rows.append(row | compare(real, fake, images, groups, seed))
            write_json(given.out, {
                "what": __doc__, "backbone": given.backbone, "weights": given.weights.name,
                "images": dict(train.counts), "settings": base.model_dump(mode="json"),
                "environment": environment(), "rows": rows,
            })  # fmt: skip


if __name__ == "__main__":
    main()
