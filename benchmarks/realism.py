"""Why the realism gate refuses what it refuses: learnt, held-back and generated images compared.

    python benchmarks/realism.py RUN --out docs/results/realism-busi.json

RUN is the folder of a run whose GAN is trained; only its TRAIN part is read. If discriminators knew
their training images by heart, these would score higher than the held-back TRAIN images, and a gate
calibrated on them would refuse too much. If they see a difference between real and generated
images, the held-back images score higher than generated ones too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from sonobalance.artefacts import splits_of
from sonobalance.config import SynthesisSettings
from sonobalance.data.guard import reading_only
from sonobalance.data.loading import load_images
from sonobalance.files import read_json, write_json
from sonobalance.gan.sampling import Sampler
from sonobalance.runs import environment, open_run
from sonobalance.synthesis.gates import Realism

GENERATED = 150  # images per class


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/realism-busi.json"))
    return parser.parse_args()


def compare(learnt: Any, held: Any, made: Any) -> dict[str, float]:
    """AUC of each pair by one estimate; 0.5 means that the estimate sees no difference."""

    def auc(a: np.ndarray, b: np.ndarray) -> float:
        truth = np.repeat([1, 0], [len(a), len(b)])
        return float(roc_auc_score(truth, np.concatenate([a, b])))

    return {
        "learnt_against_held_back": auc(learnt, held),
        "held_back_against_generated": auc(held, made),
        "median_learnt": float(np.median(learnt)),
        "median_held_back": float(np.median(held)),
        "median_generated": float(np.median(made)),
    }


def main() -> None:
    given = arguments()
    torch.set_num_threads(1)
    run = open_run(given.run)
    splits = splits_of(run)
    part = splits.of("train")
    sampler = Sampler.load(run.path("gan/snapshot.safetensors"), torch.device("cpu"))
    with reading_only(part):
        images = load_images(part, sampler.image_size_px, splits.manifest.classes)
    unseen = ~np.isin(np.array(images.ids), np.array(sampler.snapshot.ids))
    targets = images.targets.numpy()
    scores = [x.double().numpy() for x in sampler.log_ratios(images.pixels, images.targets)]
    gates = {
        name: Realism.calibrated(scores[0][of], scores[1][of], targets[of], SynthesisSettings())
        for name, of in (("learnt", ~unseen), ("held_back", unseen))
    }
    classes: dict[str, Any] = {}
    for k, label in enumerate(images.classes):
        wanted = torch.full((GENERATED,), k)
        made = sampler.sample(wanted, seed=given.seed)
        log_ratios = [x.double().numpy() for x in sampler.log_ratios(made.pixels, wanted)]
        mine = targets == k
        classes[label] = {
            "learnt": int((mine & ~unseen).sum()),
            "held_back": int((mine & unseen).sum()),
            "generated": GENERATED,
            "r1": compare(scores[0][mine & ~unseen], scores[0][mine & unseen], log_ratios[0]),
            "r2": compare(scores[1][mine & ~unseen], scores[1][mine & unseen], log_ratios[1]),
            "passed": {
                name: float(np.mean(gate.threshold.admits(gate.score(*log_ratios, k))))
                for name, gate in gates.items()
            },
        }
    gan = read_json(run.path("gan/gan.json"))
    write_json(given.out, {
        "command": "python benchmarks/realism.py RUN",
        "data": run.source.name,
        "gan": {k: gan[k] for k in ("objective", "kimg", "best_kimg", "seed", "settings")},
        "seed": given.seed,
        "classes": classes,
        "environment": environment(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
