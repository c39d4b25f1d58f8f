"""A regression on frozen features as the head of a network."""

from __future__ import annotations

import numpy as np
import torch

from sonobalance.classify.features import model_features
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.probe import Probe, fit_probe
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import SettingsError
from sonobalance.precision import arithmetic


def fit_head(
    model: AttentiveClassifier,
    images: LabelledImages,
    weights: torch.Tensor,
    settings: ClassifierSettings,
    *,
    steady: bool = False,
) -> None:
    """Set the head to a logistic regression on the features of images and their mirror images.

    Args:
        model: changed in place.
        images: to fit on.
        weights: (N,) weight of each image.
        settings: `head_c` and the arithmetic.
        steady: do not enlarge features that hardly vary in these images.

    Raises:
        SettingsError: see `take_over`.
    """
    with arithmetic(settings.precision, model.mean.device):
        features = [
            model_features(model, images, image_size_px=settings.image_size_px, mirrored=mirrored)
            for mirrored in (False, True)
        ]
    probe = fit_probe(
        np.concatenate(features), images.targets.repeat(2).numpy(), c=settings.head_c / 2,
        weights=weights.repeat(2).numpy(), blocks=model.blocks if steady else None,
    )  # fmt: skip
    take_over(model, probe, settings)


def take_over(model: AttentiveClassifier, probe: Probe, settings: ClassifierSettings) -> None:
    """Make a regression on a network's features its head.

    Raises:
        SettingsError: the network does not end in a linear layer on its pooled features.
    """
    weight, bias = torch.from_numpy(probe.weight).float(), torch.from_numpy(probe.bias).float()
    if not model.set_head(weight, bias):
        raise SettingsError(
            f"Expected a backbone to end in a linear layer on its pooled features, but "
            f"{settings.backbone} does not; choose another backbone, or fine-tune it with "
            "`classifier.head_start=random`."
        )
