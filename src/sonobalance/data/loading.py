"""From a manifest to tensors: the only way pixels reach a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sonobalance.data.images import letterbox, read_gray, read_mask
from sonobalance.data.manifest import Manifest
from sonobalance.progress import track

INSIDE = 127  # a mask is lesion where it is above this, of 255


@dataclass(frozen=True)
class Outlines:
    """Lesion masks of images, letterboxed like them.

    Attributes:
        masks: (N, 1, S, S) uint8, share of a pixel inside the lesion from 0 to 255.
        known: (N,) bool; False where an image has no mask file, so that its mask says nothing. An
            empty mask file is knowledge: there is no lesion.
    """

    masks: torch.Tensor
    known: torch.Tensor

    def take(self, rows: torch.Tensor) -> Outlines:
        """The masks at these positions, in this order."""
        return Outlines(self.masks[rows], self.known[rows])

    def join(self, other: Outlines) -> Outlines:
        """These masks followed by the others."""
        return Outlines(torch.cat([self.masks, other.masks]), torch.cat([self.known, other.known]))


@dataclass(frozen=True)
class LabelledImages:
    """Images of one part in memory, letterboxed to one size.

    Attributes:
        pixels: (N, 1, S, S) uint8 in [0, 255].
        targets: (N,) int64, index into `classes`.
        ids: N image ids.
        classes: class names; alphabetical.
        outlines: lesions, or None where nobody asked for them.
    """

    pixels: torch.Tensor
    targets: torch.Tensor
    ids: tuple[str, ...]
    classes: tuple[str, ...]
    outlines: Outlines | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Sequence[int] | np.ndarray) -> LabelledImages:
        """The images at these positions, in this order."""
        rows = torch.as_tensor(np.asarray(index), dtype=torch.int64)
        ids = tuple(self.ids[i] for i in rows.tolist())
        outlines = self.outlines.take(rows) if self.outlines else None
        return replace(
            self, pixels=self.pixels[rows], targets=self.targets[rows], ids=ids, outlines=outlines
        )

    def join(self, other: LabelledImages) -> LabelledImages:
        """These images followed by the others; both must have the same size and classes."""
        outlines = None
        if self.outlines or other.outlines:
            outlines = self.known_outlines().join(other.known_outlines())
        return replace(
            self,
            pixels=torch.cat([self.pixels, other.pixels]),
            targets=torch.cat([self.targets, other.targets]),
            ids=self.ids + other.ids,
            outlines=outlines,
        )

    def known_outlines(self) -> Outlines:
        """The outlines; empty and unknown ones where none were loaded."""
        if self.outlines is not None:
            return self.outlines
        return Outlines(torch.zeros_like(self.pixels), torch.zeros(len(self), dtype=torch.bool))


def load_images(
    manifest: Manifest,
    size_px: int,
    classes: tuple[str, ...],
    title: str = "reading images",
    *,
    outlines: bool = False,
) -> LabelledImages:
    """Read and letterbox every image of a manifest, and on request the lesion masks.

    Raises:
        InputError: an image cannot be read.
        LeakError: a guard forbids one of the files.
    """
    pixels = np.zeros((len(manifest), 1, size_px, size_px), np.uint8)
    masks = np.zeros_like(pixels)
    for i, record in enumerate(track(manifest, title, len(manifest))):
        gray = read_gray(manifest.file(record), record.frame)
        pixels[i, 0] = letterbox(gray, size_px)
        if outlines and record.masks:
            height, width = gray.shape
            mask = read_mask(manifest.mask_files(record), height, width, record.frame)
            masks[i, 0] = letterbox(mask.astype(np.uint8) * 255, size_px)
    known = torch.tensor([bool(r.masks) for r in manifest], dtype=torch.bool)
    return LabelledImages(
        torch.from_numpy(pixels),
        torch.tensor([classes.index(r.label) for r in manifest], dtype=torch.int64),
        tuple(r.id for r in manifest),
        classes,
        Outlines(torch.from_numpy(masks), known) if outlines else None,
    )


def to_unit(pixels: torch.Tensor) -> torch.Tensor:
    """(N, 1, S, S) uint8 in [0, 255] → float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(unit: torch.Tensor) -> torch.Tensor:
    """(N, 1, S, S) float32 in [-1, 1] → uint8 in [0, 255], clipped and rounded."""
    return ((unit.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
