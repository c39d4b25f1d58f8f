"""What attention and our training loop cost beside the bare timm model.

    python benchmarks/classifier_throughput.py docs/results/classifier-throughput.json

Processor time of one thread, never wall time. All variants take turns within a round, and the
ratio to the bare model is taken round by round, so that a busy machine hurts them alike; medians
with the spread of the rounds. The bare loop is timed as timm leaves the model and with its strided
depthwise convolutions in float32 (`precision.speed_up`), as ours has them: where bfloat16 is used
they are slow. `overhead` is over the faster of both, which is named in
`overhead_over`. Weights are random, which cost as much as learned ones; images are noise. About
five minutes on an idle core.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from sonobalance.classify.learner import learn, new_learner
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.predict import model_logits
from sonobalance.classify.schedule import set_rates, training_mode
from sonobalance.config import ClassifierSettings
from sonobalance.config.classifier import Attention
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.deployment.folded import folded
from sonobalance.environment import environment
from sonobalance.files import write_json
from sonobalance.heap import large_blocks_kept
from sonobalance.precision import arithmetic, speed_up

CLASSES = ("benign", "malignant", "normal")
CPU = torch.device("cpu")
BARE_LOOPS = 2  # training variants that are not ours
Work = Callable[[], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--backbone", default="mobilenetv2_100")
    parser.add_argument("--side", type=int, default=160)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    given = parser.parse_args()
    torch.set_num_threads(1)
    images = noise(given.batch, given.side)
    base = ClassifierSettings(
        backbone=given.backbone, image_size_px=given.side, batch_size=given.batch,
        lesion_attention=False,
    )  # fmt: skip
    variants = {
        "training": (training_variants(images, base), BARE_LOOPS),
        "prediction": (prediction_variants(images, base), 1),
        "latency_one_image": (prediction_variants(images.take([0]), base), 1),
    }
    document: dict[str, Any] = {
        "command": f"python benchmarks/classifier_throughput.py {given.out.name} "
        f"--backbone {given.backbone} --side {given.side} --batch {given.batch} "
        f"--rounds {given.rounds}",
        "unit": "images per second of processor time, one thread",
        "environment": environment(),
    }
    with large_blocks_kept():  # as in a training; the bare model has it, too
        for part, (works, bare) in variants.items():
            document[part] = compared(works, given.rounds, bare)
    write_json(given.out, document)
    for part in variants:
        for name, row in document[part].items():
            print(
                f"{part:18} {name:34} {row['per_second']:8.2f}/s  overhead {row['overhead']:+.1%}"
            )


def compared(variants: dict[str, Work], rounds: int, bare: int = 1) -> dict[str, Any]:
    """Each variant's speed, and what it costs over the fastest of the first `bare` ones."""
    for work in variants.values():
        work()
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, work in variants.items():
            began = time.process_time()
            shown = work()
            seconds[name].append((time.process_time() - began) / shown)
    over = min(list(seconds)[:bare], key=lambda name: statistics.median(seconds[name]))
    out = {}
    for name, each in seconds.items():
        ratios = [own / other for own, other in zip(each, seconds[over], strict=True)]
        out[name] = {
            "per_second": 1 / statistics.median(each),
            "per_second_spread": [1 / max(each), 1 / min(each)],
            "overhead": statistics.median(ratios) - 1,
            "overhead_spread": [min(ratios) - 1, max(ratios) - 1],
            "overhead_over": over,
        }
    return out


def training_variants(images: LabelledImages, base: ClassifierSettings) -> dict[str, Work]:
    """One step each: the bare model in two bare loops, then ours with one more thing at a time.

    All train in the same arithmetic, with all layers learning.
    """
    plain = {"attention": "none", "augmentation": "none", "ema_halflife_epochs": 0.0}
    return {
        "timm model, bare loop": bare_step(images, base),
        "timm model, bare loop, depthwise in float32": bare_step(images, base, sped_up=True),
        "our loop": our_step(images, base, plain),
        "our loop, attention": our_step(images, base, plain | {"attention": "both"}),
        f"our loop, attention, averaging, {base.augmentation} augmentation": our_step(
            images, base, {}
        ),
    }


def bare_step(images: LabelledImages, base: ClassifierSettings, *, sped_up: bool = False) -> Work:
    model = timm.create_model(base.backbone, num_classes=len(CLASSES))
    if sped_up:
        speed_up(model)
    model.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> int:
        batch = to_unit(images.pixels).repeat(1, 3, 1, 1)
        with arithmetic(base.precision, CPU):
            logits = model(batch.contiguous(memory_format=torch.channels_last))
        loss = torch.nn.functional.cross_entropy(logits.float(), images.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return len(images)

    return step


def our_step(images: LabelledImages, base: ClassifierSettings, changes: dict[str, Any]) -> Work:
    settings = base.model_copy(update={"frozen_share": 0.0, **changes})
    learner = new_learner(images, settings, seed=0, device=CPU)
    weights = torch.ones(len(images))
    decay = 0.99 if settings.ema_halflife_epochs else 0.0

    def step() -> int:
        training_mode(learner.model, frozen_statistics=False)
        set_rates(learner.optimizer, 1.0)
        learn(learner, images, weights, settings, seed=0, step=learner.step, decay=decay)
        learner.step += 1
        return len(images)

    return step


def prediction_variants(images: LabelledImages, base: ClassifierSettings) -> dict[str, Work]:
    """The bare model, the path of a run's commands, and that of bundle and service, without norms.

    The mirrored second look and a partner are choices of the recipe, not overheads; they are shown
    on their own. The commands of a run predict in batches; single images reach bundle and service.
    """
    bare = timm.create_model(base.backbone, num_classes=len(CLASSES))
    bare.to(memory_format=torch.channels_last).eval()

    def plain() -> int:
        with torch.inference_mode():
            batch = to_unit(images.pixels).repeat(1, 3, 1, 1)
            bare(batch.contiguous(memory_format=torch.channels_last)).numpy()
        return len(images)

    def ours(
        attention: Attention,
        *,
        mirror: bool = False,
        partners: Sequence[str] = (),
        bundled: bool = False,
    ) -> Work:
        model = AttentiveClassifier(
            base.backbone, len(CLASSES), attention, base.image_size_px, partners=partners
        ).eval()
        model = folded(model, base.image_size_px) if bundled else model

        def work() -> int:
            model_logits(model, images, mirror=mirror, image_size_px=base.image_size_px)
            return len(images)

        return work

    return {
        "timm model": plain,
        "ours, no attention": ours("none"),
        "ours, attention": ours("both"),
        "ours, attention, in a bundle": ours("both", bundled=True),
        "ours, attention, first head as partner": ours("both", partners=[base.backbone]),
        "ours, attention, mirrored too": ours("both", mirror=True),
    }


def noise(n: int, side: int) -> LabelledImages:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (n, 1, side, side)).astype(np.uint8))
    targets = torch.from_numpy(np.arange(n) % len(CLASSES))
    return LabelledImages(pixels, targets, tuple(map(str, range(n))), CLASSES)


if __name__ == "__main__":
    main()
