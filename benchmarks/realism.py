"""Why the realism gate refuses what it refuses: learnt, held-back and generated images compared.

    python benchmarks/realism.py RUN --weights WEIGHTS --referee WEIGHTS --out FILE.json

RUN is the folder of a run whose GAN is trained; only its TRAIN part is read. If discriminators knew
their training images by heart, these would score higher than the held-back TRAIN images, and a gate
calibrated on them would refuse too much. If they see a difference between real and generated
images, the held-back images score higher than generated ones too.

Does a more real rank mean a better image? `kid_by_share` is the KID between TRAIN and the most real
share of a pool by both discriminators, and that of the least real share, in the features of
`--weights` and in those of `--referee`, a network that the GAN never saw.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gan_quality import Features, look, standardised
from sklearn.metrics import roc_auc_score

from sonobalance.artefacts import splits_of
from sonobalance.config import SynthesisSettings
from sonobalance.data.guard import reading_only
from sonobalance.data.loading import LabelledImages, load_images
from sonobalance.files import read_json, write_json
from sonobalance.gan.sampling import Sampler
from sonobalance.runs import environment, open_run
from sonobalance.synthesis.fidelity import subset_kernel_distance
from sonobalance.synthesis.gates import Realism

GENERATED = 600  # images per class
SHARES = (0.9, 0.75, 0.5, 0.25)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="safetensors of the backbone")
    parser.add_argument("--backbone", default="mobilenetv2_100", help="any timm name")
    parser.add_argument("--referee", type=Path, required=True, help="of tf_mobilenet_edgetpu_100")
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


def kid_by_share(
    real: Features, made: Features, gate: Realism, log_ratios: tuple[Features, Features], k: int
) -> dict[str, Any]:
    """KID of the whole pool, and of the most and the least real shares of it."""
    out: dict[str, Any] = {"all": subset_kernel_distance(real, made, 0)[0]}
    for share in SHARES:
        best = gate.most_real(*log_ratios, k, share)
        worst = ~gate.most_real(*log_ratios, k, 1 - share)
        out[f"{share:g}"] = {
            "most_real": subset_kernel_distance(real, made[best], 0)[0],
            "least_real": subset_kernel_distance(real, made[worst], 0)[0],
        }
    return out


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
    raw = look(images, given)
    real = {name: standardised(features, features) for name, features in raw.items()}
    classes: dict[str, Any] = {}
    for k, label in enumerate(images.classes):
        wanted = torch.full((GENERATED,), k)
        made = sampler.sample(wanted, seed=given.seed)
        first, second = sampler.log_ratios(made.pixels, wanted)
        log_ratios = first.double().numpy(), second.double().numpy()
        mine = targets == k
        ids = tuple(map(str, range(GENERATED)))
        seen = look(LabelledImages(made.pixels, wanted, ids, images.classes), given)
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
            "kid_by_share": {
                name: kid_by_share(
                    real[name][mine], standardised(seen[name], raw[name]), gates["held_back"],
                    log_ratios, k,
                )
                for name in real
            },
        }  # fmt: skip
    gan = read_json(run.path("gan/gan.json"))
    write_json(given.out, {
        "command": "python benchmarks/realism.py RUN --weights mobilenetv2_100.safetensors "
        f"--referee mobilenet_edgetpu_100.safetensors --out docs/results/{given.out.name}",
        "data": run.source.name,
        "gan": {k: gan[k] for k in ("objective", "kimg", "best_kimg", "seed", "settings")},
        "seed": given.seed,
        "classes": classes,
        "environment": environment(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
