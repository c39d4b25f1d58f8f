"""The loop of synthesis on real images, with everything that settings ask for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from sonobalance.classify.features import extract_features, features_name
from sonobalance.config import Settings
from sonobalance.data.loading import LabelledImages
from sonobalance.enlarging import learnt_enlarger, write_enlarged
from sonobalance.gan.features import eyes_of
from sonobalance.synthesis.enlarger import enlarged
from sonobalance.synthesis.generator import GanGenerator
from sonobalance.synthesis.grow import grow
from sonobalance.synthesis.summary import Growth


def grow_classes(
    settings: Settings,
    train: LabelledImages,
    groups: Sequence[str],
    *,
    seen: LabelledImages,
    gan: Path,
    folder: Path,
    device: torch.device,
) -> tuple[Growth, GanGenerator]:
    """Synthetic images of the rarer classes, drawn and, where that was learnt, enlarged.

    Args:
        settings: of generator, synthesis and the classifier that they are for; its seed.
        train: real TRAIN images at the generator's side.
        groups: their keys of relatives.
        seen: the same images at the classifier's side.
        gan: folder of the trained GAN.
        folder: of the synthesis; see `grow` for what is written.
        device: where networks live.

    Raises:
        SettingsError, InputError, StaleError: see `grow`.
    """
    classifier, synthesis = settings.classifier, settings.synthesis
    backbone, weights = classifier.backbone, classifier.weights
    generator = GanGenerator(
        train, settings.gan, settings.seed, gan, folder / "generators",
        synthesis.gan_kimg_per_round, device, groups, eyes_of(settings),
    )  # fmt: skip
    enlarger = learnt_enlarger(folder, settings, train, seen, device)
    growth = grow(
        train, groups, generator,
        partial(extract_features, backbone=backbone, weights=weights, device=device), synthesis,
        seen=seen, share=classifier.synthetic_share, seed=settings.seed, folder=folder,
        device=device, enlarge=partial(enlarged, enlarger=enlarger) if enlarger else None,
        features_of=features_name(backbone, weights) + (f" {enlarger.name}" if enlarger else ""),
    )  # fmt: skip
    write_enlarged(folder, enlarger)
    return growth, generator
