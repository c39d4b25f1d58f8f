"""The iterative loop: go on training, generate, gate, add a share, judge, stop by rule.

It depends on real TRAIN images alone. Each finished round is durable: killed at any point and
called again, the loop ends with the same files as undisturbed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.gan.snapshot import hash_images
from sonobalance.progress import console
from sonobalance.synthesis.cautions import cautions
from sonobalance.synthesis.gate_models import FeatureFunction
from sonobalance.synthesis.generator import ImageGenerator
from sonobalance.synthesis.inner import check_relatives
from sonobalance.synthesis.ledger import load_rounds, write_tables
from sonobalance.synthesis.loop import Enlarge, Loop
from sonobalance.synthesis.provenance import identity_of
from sonobalance.synthesis.stopping import stop_reason
from sonobalance.synthesis.summary import Growth, conclude
from sonobalance.synthesis.targets import target_counts
from sonobalance.synthesis.yardstick import Yardstick


def grow(
    train: LabelledImages,
    groups: Sequence[str],
    generator: ImageGenerator,
    features: FeatureFunction,
    settings: SynthesisSettings,
    *,
    seen: LabelledImages | None = None,
    share: float = 1.0,
    enlarge: Enlarge | None = None,
    seed: int,
    folder: Path,
    device: torch.device | str = "cpu",
    features_of: str = "",
) -> Growth:
    """Bring the classes to their target counts with images that pass every gate.

    Writes into `folder`: `images/<class>/<id>.png`, `manifest.csv`, `selection.csv` (a row per
    candidate), `rounds.csv`, `synthesis.json`, and `rounds/<n>.json` for resuming.

    Args:
        train: real TRAIN images at the generator's size.
        groups: their keys of relatives (patient, near-duplicates).
        generator: see `ImageGenerator`.
        features: images → (N, F) features, never adapted to TRAIN.
        settings: targets, gates, stop rules.
        seen: the same images at the size at which a classifier will see them, which judges what a
            round is worth; None: at the generator's.
        share: most of a class's weight that this classifier gives to synthetic images.
        enlarge: how the classifier gets synthetic images; None: as they are drawn.
        seed: of every random choice.
        folder: made if missing.
        device: where likeness is computed.
        features_of: names all that `features` and `enlarge` depend on; rounds made with others are
            refused.

    Raises:
        SettingsError: the target counts contradict the images present.
        InputError: a class has fewer than two unrelated images.
        StaleError: the folder holds rounds of other images, settings or another generator.
    """
    check_relatives([train.classes[k] for k in train.targets.tolist()], groups)
    generator.advance(0)
    warnings = cautions(settings, train, seen, learnt=enlarge is not None)
    for warning in warnings:
        console.print(warning, style="yellow")
    present = {name: int((train.targets == k).sum()) for k, name in enumerate(train.classes)}
    targets = target_counts(present, settings)
    identity = identity_of(
        train, groups, generator.fingerprint, settings, seed, share,
        hash_images(train if seen is None else seen), features_of,
    )  # fmt: skip
    records = load_rounds(folder, identity)
    yardstick = Yardstick.of(
        train, groups, features, settings, seen=seen, share=share, seed=seed, device=device
    )
    loop = Loop(yardstick, generator, settings, targets, present, enlarge, seed, folder, records)
    if not records:
        loop.commit(loop.round_zero(), identity)
    while (reason := stop_reason(loop.records, loop.deficits, settings)) is None:
        loop.commit(loop.next_round(), identity)
    write_tables(folder, loop.records)
    generator.advance(0)
    return conclude(
        folder, yardstick, loop.records, loop.additions,
        settings=settings, seed=seed, reason=reason,
        facts={
            "warnings": warnings,
            "targets": targets,
            "hashes": {
                "identity": identity,
                "generator": generator.fingerprint,
                "train": hash_images(train),
            },
        },
    )  # fmt: skip
