"""Images, labels and masks as arrays that somebody hands to a balancer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sonobalance.data.images import letterbox
from sonobalance.data.loading import LabelledImages, Outlines
from sonobalance.data.sources import check_class_names
from sonobalance.errors import InputError

Images = NDArray[np.uint8]


def train_set(
    images: Sequence[Images] | Images,
    labels: NDArray[Any],
    side: int,
    masks: Sequence[NDArray[Any] | None] | NDArray[Any] | None = None,
) -> LabelledImages:
    """Letterbox everything to one side.

    Args:
        images: N grey images (H, W) uint8 of any sizes, or one array (N, H, W).
        labels: N class names or numbers.
        side: S of the result.
        masks: N masks (H, W) of the same sizes, the lesion being what is not 0; None for one that
            nobody drew.

    Raises:
        InputError: the counts, shapes or types do not fit, or there are no two classes whose names
            can name folders.
    """
    if len(images) != len(labels) or len(images) == 0:
        raise InputError(
            f"Expected as many images as labels, but got {len(images)} and {len(labels)}."
        )
    for i, image in enumerate(images):
        if image.ndim != 2 or image.dtype != np.uint8:
            raise InputError(
                f"Expected image {i} to be (H, W) uint8, but got {image.shape} {image.dtype}."
            )
    names = [str(label) for label in labels.tolist()]
    classes = tuple(sorted(set(names)))
    if len(classes) < 2:
        raise InputError(f"Expected images of two classes at least, but all are {classes[0]!r}.")
    check_class_names(set(classes))
    targets = torch.tensor([classes.index(name) for name in names], dtype=torch.int64)
    pixels = torch.from_numpy(np.stack([letterbox(image, side) for image in images]))
    ids = tuple(f"real-{i:05d}" for i in range(len(names)))
    outlines = None if masks is None else _outlines(images, masks, side)
    return LabelledImages(pixels[:, None], targets, ids, classes, outlines)


def joined(
    real: LabelledImages, made: LabelledImages, labels: NDArray[Any]
) -> tuple[LabelledImages, NDArray[Any], NDArray[np.bool_]]:
    """Real images followed by made ones, all labels in the type given, and which are made."""
    names = {str(label): label for label in labels.tolist()}
    both = real.join(made)
    added = np.array([names[both.classes[k]] for k in made.targets.tolist()], labels.dtype)
    return both, np.concatenate([labels, added]), np.arange(len(both)) >= len(real)


def _outlines(
    images: Sequence[Images] | Images,
    masks: Sequence[NDArray[Any] | None] | NDArray[Any],
    side: int,
) -> Outlines:
    if len(masks) != len(images):
        raise InputError(f"Expected a mask or None for each of {len(images)} images.")
    planes = np.zeros((len(images), 1, side, side), np.uint8)
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        if mask is None:
            continue
        inside = np.asarray(mask) != 0
        if inside.shape != image.shape:
            raise InputError(
                f"Expected mask {i} to be {image.shape} as its image, but got {inside.shape}."
            )
        planes[i, 0] = letterbox(inside.astype(np.uint8) * 255, side)
    return Outlines(torch.from_numpy(planes), torch.tensor([mask is not None for mask in masks]))
