"""From a manifest to tensors: the only way pixels reach a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from sonobalance.data.images import letterbox, read_gray
from sonobalance.data.manifest import Manifest
from sonobalance.progress import track


@dataclass(frozen=True)
class LabelledImages:
    """Images of one part in memory, letterboxed to one size.

    Attributes:
        pixels: (N, 1, S, S) uint8 in [0, 255].
        targets: (N,) int64, index into `classes`.
        ids: N image ids.
        classes: class names; alphabetical.
    """

    pixels: torch.Tensor
    targets: torch.Tensor
    ids: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, index: Sequence[int] | np.ndarray) -> LabelledImages:
        """The images at these positions, in this order."""
        rows = torch.as_tensor(np.asarray(index), dtype=torch.int64)
        ids = tuple(self.ids[i] for i in rows.tolist())
        return replace(self, pixels=self.pixels[rows], targets=self.targets[rows], ids=ids)

    def join(self, other: LabelledImages) -> LabelledImages:
        """These images followed by the others; both must have the same size and classes."""
        return replace(
            self,
            pixels=torch.cat([self.pixels, other.pixels]),
            targets=torch.cat([self.targets, other.targets]),
            ids=self.ids + other.ids,
        )


def load_images(
    manifest: Manifest, size_px: int, classes: tuple[str, ...], title: str = "reading images"
) -> LabelledImages:
    """Read and letterbox every image of a manifest.

    Raises:
        InputError: an image cannot be read.
        LeakError: a guard forbids one of the files.
    """
    pixels = np.zeros((len(manifest), 1, size_px, size_px), np.uint8)
    for i, record in enumerate(track(manifest, title, len(manifest))):
        pixels[i, 0] = letterbox(read_gray(manifest.file(record), record.frame), size_px)
    return LabelledImages(
        torch.from_numpy(pixels),
        torch.tensor([classes.index(r.label) for r in manifest], dtype=torch.int64),
        tuple(r.id for r in manifest),
        classes,
    )


def to_unit(pixels: torch.Tensor) -> torch.Tensor:
    """(N, 1, S, S) uint8 in [0, 255] → float32 in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def to_pixels(unit: torch.Tensor) -> torch.Tensor:
    """(N, 1, S, S) float32 in [-1, 1] → uint8 in [0, 255], clipped and rounded."""
    return ((unit.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
