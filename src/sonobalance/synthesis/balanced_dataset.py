"""Real TRAIN images and accepted synthetic ones of a run as one `torch.utils.data.Dataset`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.tv_tensors import Mask

from sonobalance.artefacts import ACCEPTED, as_seen, splits_of, was_cleaned
from sonobalance.chain import check_chain
from sonobalance.data.cleaning import cleaned
from sonobalance.data.images import letterbox, read_gray, read_mask
from sonobalance.data.loading import INSIDE
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.split import Part, check_no_synthetic
from sonobalance.errors import InputError
from sonobalance.runs import open_run
from sonobalance.synthesis.masks import with_masks
from sonobalance.synthesis.summary import training_images


class BalancedDataset(Dataset[tuple[Any, ...]]):
    """Images of one part of a finished run; TRAIN comes with the accepted synthetic images.

    An item is an image, (1, S, S) float32 in [0, 1] unless `transform` makes something else of it,
    and the index of its class. With `clean_marks`, real images come without their burnt-in marks,
    as the networks of the run saw them.

    With `masks`, the third of an item is the lesion, (1, S, S) uint8 of 0 and 1, of real images and
    of synthetic ones alike; it is empty where no mask is known (see `masked`).

    Args:
        run: run folder.
        part: train, val or test; synthetic images are in train only.
        size_px: side S that images are letterboxed to.
        transform: applied to the (1, S, S) tensor; with `masks` to it and a
            `torchvision.tv_tensors.Mask`, which transforms of torchvision move alike, for both.
        synthetic: whether TRAIN includes synthetic images.
        every_round: all accepted images, whatever the harm guard says.
        masks: whether items have a lesion mask.

    Attributes:
        classes: class names, alphabetical.
        targets: (N,) int64.
        synthetic: (N,) bool.
        masked: (N,) bool, whether the image has a mask file; that mask may say that there is no
            lesion.
        ids: N image ids.

    Raises:
        InputError: the run lacks a file.
        LeakError: a synthetic image stands in VAL or TEST.
        StaleError: the parts changed since the synthesis, or it was cut off.
    """

    def __init__(
        self,
        run: Path | str,
        part: Part = "train",
        *,
        size_px: int = 224,
        transform: Callable[..., Any] | None = None,
        synthetic: bool = True,
        every_round: bool = False,
        masks: bool = False,
    ) -> None:
        opened = open_run(Path(run))
        splits = splits_of(opened)
        self._clean, self._made = was_cleaned(opened, "synthesize"), opened.path("synthesis")
        self._images: list[tuple[Manifest, Record]] = [
            (splits.manifest, r) for r in splits.of(part)
        ]
        if part == "train" and synthetic:
            check_chain(opened, (ACCEPTED,))
            made = as_seen(with_masks(training_images(self._made, every_round=every_round)))
            self._images += [(made, r) for r in made]
        else:
            check_no_synthetic(r for _, r in self._images)
        if not self._images:
            raise InputError(f"Expected images in the part {part!r} of {run}, but got none.")
        self.classes = splits.manifest.classes
        self.ids = tuple(r.id for _, r in self._images)
        self.targets = torch.tensor([self.classes.index(r.label) for _, r in self._images])
        self.synthetic = torch.tensor([r.origin == "synthetic" for _, r in self._images])
        self.masked = torch.tensor([bool(r.masks) for _, r in self._images])
        self._size, self._transform, self._masks = size_px, transform, masks

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        manifest, record = self._images[index]
        with cleaned(self._clean, leave=[self._made]):
            pixels = read_gray(manifest.file(record), record.frame)
        image = torch.from_numpy(letterbox(pixels, self._size))[None].float() / 255
        target = int(self.targets[index])
        if not self._masks:
            return (self._transform(image) if self._transform else image), target
        mask = self._lesion(manifest, record, *pixels.shape)
        image, mask = self._transform(image, Mask(mask)) if self._transform else (image, mask)
        return image, target, mask

    def _lesion(self, manifest: Manifest, record: Record, height: int, width: int) -> Tensor:
        mask = read_mask(manifest.mask_files(record), height, width, record.frame)
        square = letterbox(mask.astype(np.uint8) * 255, self._size)
        return torch.from_numpy(square > INSIDE)[None].byte()
