"""Frozen features: what gates, fidelity measures and the probe look at instead of pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from sonobalance.classify.descriptor import LENGTH, describe
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.weights import load_backbone
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.files import sha256_of
from sonobalance.progress import track

Features = NDArray[np.float32]


def extract_features(
    images: LabelledImages,
    backbone: str = "mobilenetv2_100",
    weights: Path | None = None,
    device: torch.device | str = "cpu",
    *,
    image_size_px: int = 224,
    batch_size: int = 64,
) -> Features:
    """Features of each image, never adapted to the data at hand.

    Args:
        images: N images of any size S.
        backbone: timm name; used with `weights` only.
        weights: local safetensors of the backbone. None: the weight-free descriptor of
            `classify.descriptor`, which is good enough for images of 32 to 64 px.
        device: where the backbone runs.
        image_size_px: images are resized (antialiased) to this side before the backbone.
        batch_size: images per forward pass; changes no value beyond rounding.

    Returns:
        (N, F) float32, not standardised: F = 1280 pooled features of `mobilenetv2_100`.

    Raises:
        InputError: the file of weights is missing or does not fit the backbone.
        SettingsError: timm has no such backbone.
    """
    if weights is None:
        rows = [describe(image[0].numpy()) for image in images.pixels]
        return np.stack(rows) if rows else np.zeros((0, LENGTH), np.float32)
    model = AttentiveClassifier(backbone, 1, image_size_px=image_size_px)
    load_backbone(model, weights)
    return model_features(
        model.to(device), images, image_size_px=image_size_px, batch_size=batch_size
    )


def features_name(backbone: str, weights: Path | None) -> str:
    """What `extract_features` depends on besides the images: backbone and weights."""
    return f"{backbone} {sha256_of(weights)}" if weights else "descriptor"


def model_features(
    model: AttentiveClassifier,
    images: LabelledImages,
    *,
    image_size_px: int,
    batch_size: int = 64,
    mirrored: bool = False,
) -> Features:
    """(N, F) float32 pooled features of a given model in evaluation mode.

    Args:
        model: on any device; left in evaluation mode.
        images: N images of any size.
        image_size_px: images are resized to this side.
        batch_size: images per forward pass.
        mirrored: look at the left-right mirror of each image.
    """
    model.eval()
    device = model.mean.device
    parts = images.pixels.split(batch_size)
    rows = []
    with torch.inference_mode():
        for part in track(parts, "features", len(parts)):
            batch = resized(to_unit(part.to(device)), image_size_px)
            rows.append(model.features(batch.flip(3) if mirrored else batch).float().cpu())
    out: Features = torch.cat(rows).numpy() if rows else np.zeros((0, 0), np.float32)
    return out


def resized(images: torch.Tensor, side: int) -> torch.Tensor:
    """(N, 1, S, S) float32 → (N, 1, side, side), antialiased; unchanged when it fits already."""
    if images.shape[-1] == side:
        return images
    return interpolate(
        images, size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )
