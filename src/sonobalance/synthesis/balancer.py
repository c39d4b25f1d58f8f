"""The balancer for people with their own training code, in the manners of imbalanced-learn."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sonobalance.classify.features import extract_features, features_name
from sonobalance.config import GanSettings, SynthesisSettings
from sonobalance.data.images import read_gray
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import InputError
from sonobalance.gan.train import train_gan
from sonobalance.synthesis.generator import GanGenerator
from sonobalance.synthesis.given import Images, train_set
from sonobalance.synthesis.grow import grow
from sonobalance.synthesis.summary import Growth, training_images


class SyntheticBalancer:
    """Fills up the rare classes of a training set with gated synthetic images.

    Give it TRAIN only, never images that will validate or test: promise P1 is then yours to keep.

    Args:
        gan: settings of the generator; its `image_size_px` is the side of the result.
        synthesis: targets, gates and stop rules.
        backbone: timm name of the network whose features the gates use, with `weights`.
        weights: its safetensors; without them a descriptor that needs none.
        folder: keeps the generator and every record, and makes a killed fit go on; a temporary one
            when None.
        every_round: hand out all accepted images, whatever the harm guard says.
        random_state: seed of every draw.
        device: cpu or cuda.

    Attributes:
        sample_is_synthetic_: (M,) bool, of the last result.
        sample_ids_: M ids of the last result.
        report_: content of `synthesis.json`: stop reason, thresholds, whether it helped.
    """

    sample_is_synthetic_: NDArray[np.bool_]
    sample_ids_: tuple[str, ...]
    report_: dict[str, Any]

    def __init__(
        self,
        *,
        gan: GanSettings | None = None,
        synthesis: SynthesisSettings | None = None,
        backbone: str = "mobilenetv2_100",
        weights: Path | None = None,
        folder: Path | None = None,
        every_round: bool = False,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        self.gan, self.synthesis = gan or GanSettings(), synthesis or SynthesisSettings()
        self.backbone, self.weights, self.folder = backbone, weights, folder
        self.every_round, self.random_state, self.device = every_round, random_state, device

    def fit_resample(
        self, images: Sequence[Images] | Images, labels: ArrayLike, groups: ArrayLike | None = None
    ) -> tuple[Images, NDArray[Any]]:
        """Train a generator on the images and return them with the accepted synthetic ones.

        Args:
            images: N grey images (H, W) uint8 of any sizes, or one array (N, H, W).
            labels: N class names or numbers.
            groups: N keys of relatives (patients); every image stands alone when None.

        Returns:
            (M, S, S) uint8, M ≥ N: the real images letterboxed, in their order, then the synthetic
            ones; and M labels of the type that was given.

        Raises:
            InputError: images, labels and groups do not fit together, or a class has too few.
            CollapseError: the generator collapsed before any good snapshot.
        """
        given = np.asarray(labels)
        train = train_set(images, given, self.gan.image_size_px)
        keys = list(train.ids) if groups is None else [str(g) for g in np.asarray(groups).tolist()]
        if len(keys) != len(train):
            raise InputError(f"Expected a group for each of {len(train)} images, got {len(keys)}.")
        with ExitStack() as stack:
            folder = self.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            growth = self._grow(train, keys, folder)
            made = training_images(growth.folder, every_round=self.every_round)
            pixels = [read_gray(made.file(r)) for r in made]
        names = {str(label): label for label in given.tolist()}
        added = np.array([names[r.label] for r in made], dtype=given.dtype)
        real = train.pixels[:, 0].numpy()
        both = np.concatenate([real, np.stack(pixels)]) if pixels else real
        self.sample_is_synthetic_ = np.arange(len(both)) >= len(real)
        self.sample_ids_ = train.ids + made.ids
        self.report_ = growth.document
        return both, np.concatenate([given, added])

    def _grow(self, train: LabelledImages, groups: Sequence[str], folder: Path) -> Growth:
        device, seed = torch.device(self.device), self.random_state
        gan, out = folder / "gan", folder / "synthesis"
        train_gan(train, self.gan, seed=seed, folder=gan, device=device, groups=groups)
        generator = GanGenerator(
            train, self.gan, seed, gan, out / "generators", self.synthesis.gan_kimg_per_round,
            device, groups,
        )  # fmt: skip
        features = partial(
            extract_features, backbone=self.backbone, weights=self.weights, device=device
        )
        return grow(
            train, groups, generator, features, self.synthesis, seed=seed, folder=out,
            device=device, features_of=features_name(self.backbone, self.weights),
        )  # fmt: skip
