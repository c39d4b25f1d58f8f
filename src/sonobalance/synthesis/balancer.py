"""The balancer for people with their own training code, in the manners of imbalanced-learn."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from sonobalance.artefacts import as_seen
from sonobalance.config import ClassifierSettings, GanSettings, Settings, SynthesisSettings
from sonobalance.data.loading import LabelledImages, load_images
from sonobalance.errors import InputError, SettingsError
from sonobalance.gan.features import eyes_of
from sonobalance.gan.train import train_gan
from sonobalance.growing import grow_classes
from sonobalance.layers import validation_sentence
from sonobalance.synthesis.given import Images, joined, train_set
from sonobalance.synthesis.inner import check_relatives
from sonobalance.synthesis.masks import samplers_in, with_masks, write_masks
from sonobalance.synthesis.summary import Growth, training_images
from sonobalance.synthesis.targets import target_counts


class SyntheticBalancer:
    """Fills up the rare classes of a training set with gated synthetic images.

    Give it TRAIN only, never images that will validate or test: promise P1 is then yours to keep.

    Args:
        image_size_px: side S of the result; the generator's own when None. Where it is larger,
            synthetic images are enlarged as learnt from the real ones (`synthesis.enlarger_kimg`),
            or, without `weights`, resampled.
        gan: settings of the generator.
        synthesis: targets, gates and stop rules.
        backbone: timm name of the network whose features generator, gates and enlarger use.
        weights: its safetensors; without them the generator looks at pixels alone, and the gates
            use a descriptor that needs none.
        folder: keeps the generator and every record, and makes a killed fit go on; a temporary one
            when None.
        every_round: hand out all accepted images, whatever the harm guard says.
        random_state: seed of every draw.
        device: cpu or cuda.

    Attributes:
        sample_is_synthetic_: (M,) bool, of the last result.
        sample_ids_: M ids of the last result.
        sample_masks_: (M, S, S) uint8 lesion masks of the last result, 0 to 255, those of synthetic
            images as the generator drew them; None without `gan.synthesize_masks`.
        report_: content of `synthesis.json`: stop reason, thresholds, whether it helped.
    """

    sample_is_synthetic_: NDArray[np.bool_]
    sample_ids_: tuple[str, ...]
    sample_masks_: Images | None
    report_: dict[str, Any]

    def __init__(
        self,
        *,
        image_size_px: int | None = None,
        gan: GanSettings | None = None,
        synthesis: SynthesisSettings | None = None,
        backbone: str = "mobilenetv2_100",
        weights: Path | None = None,
        folder: Path | None = None,
        every_round: bool = False,
        random_state: int = 0,
        device: str = "cpu",
    ) -> None:
        self.image_size_px = image_size_px
        self.gan, self.synthesis = gan or GanSettings(), synthesis or SynthesisSettings()
        self.backbone, self.weights, self.folder = backbone, weights, folder
        self.every_round, self.random_state, self.device = every_round, random_state, device

    def fit_resample(
        self,
        images: Sequence[Images] | Images,
        labels: ArrayLike,
        groups: ArrayLike | None = None,
        *,
        masks: Sequence[NDArray[Any]] | NDArray[Any] | None = None,
    ) -> tuple[Images, NDArray[Any]]:
        """Train a generator on the images and return them with the accepted synthetic ones.

        Args:
            images: N grey images (H, W) uint8 of any sizes, or one array (N, H, W).
            labels: N class names or numbers.
            groups: N keys of relatives (patients); every image stands alone when None.
            masks: N lesion masks of the images' sizes, not 0 inside, an empty one where there is no
                lesion; needed with `gan.synthesize_masks`, without it of no use.

        Returns:
            (M, S, S) uint8, M ≥ N: the real images letterboxed, in their order, then the synthetic
            ones; and M labels of the type that was given.

        Raises:
            InputError: images, labels, groups and masks do not fit together, a class has too few,
                or masks are needed and were not given.
            SettingsError: `image_size_px` is less than the generator's or more than 1024, or
                settings of generator and synthesis exclude each other.
            StaleError: `folder` holds a fit of other images or settings.
            CollapseError: the generator collapsed before any good snapshot.
        """
        settings, given = self._settings(), np.asarray(labels)
        side, drawing = settings.classifier.image_size_px, self.gan.synthesize_masks
        if drawing and masks is None:
            raise InputError(
                "Expected `masks` of all images for `gan.synthesize_masks`, but got none; give "
                "them to fit_resample, or turn the setting off."
            )
        real = train_set(images, given, side, masks)
        train = train_set(images, given, self.gan.image_size_px, masks)
        keys = list(train.ids) if groups is None else [str(g) for g in np.asarray(groups).tolist()]
        if len(keys) != len(train):
            raise InputError(f"Expected a group for each of {len(train)} images, got {len(keys)}.")
        named = [train.classes[k] for k in train.targets.tolist()]
        check_relatives(named, keys)
        target_counts(Counter(named), settings.synthesis)  # refused before the training
        with ExitStack() as stack:
            folder = self.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
            growth = self._grow(settings, train, real, keys, folder)
            if drawing:
                write_masks(growth.folder, samplers_in(growth.folder, torch.device(self.device)))
            accepted = with_masks(training_images(growth.folder, every_round=self.every_round))
            made = load_images(as_seen(accepted), side, real.classes, "accepted", outlines=drawing)
        both, names, self.sample_is_synthetic_ = joined(real, made, given)
        self.sample_ids_ = both.ids
        self.sample_masks_ = both.known_outlines().masks[:, 0].numpy() if drawing else None
        self.report_ = growth.document
        return both.pixels[:, 0].numpy(), names

    def _settings(self) -> Settings:
        """All that a run would be told. Somebody's own training gives images their full weight."""
        drawn = self.gan.image_size_px
        side = drawn if self.image_size_px is None else self.image_size_px
        if not drawn <= side <= 1024:
            raise SettingsError(
                f"Expected image_size_px from {drawn}, the generator's, to 1024, but got {side}."
            )
        classifier = ClassifierSettings(
            backbone=self.backbone, weights=self.weights, image_size_px=side, synthetic_share=1.0
        )
        try:
            return Settings(
                seed=self.random_state, gan=self.gan, synthesis=self.synthesis,
                classifier=classifier,
            )  # fmt: skip
        except ValidationError as error:
            raise SettingsError(validation_sentence(error)) from None

    def _grow(
        self,
        settings: Settings,
        train: LabelledImages,
        seen: LabelledImages,
        groups: Sequence[str],
        folder: Path,
    ) -> Growth:
        device, gan = torch.device(self.device), folder / "gan"
        train_gan(
            train, self.gan, seed=self.random_state, folder=gan, device=device, groups=groups,
            eyes=eyes_of(settings),
        )  # fmt: skip
        growth, _ = grow_classes(
            settings, train, groups, seen=seen, gan=gan, folder=folder / "synthesis", device=device
        )
        return growth
