"""What maps are made of: images, the classes in question, and where images lie in their squares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from sonobalance.data.images import Letterbox


class Inputs(NamedTuple):
    """N images and what is asked about them.

    Attributes:
        images: (N, 1, S, S) float32 in [-1, 1].
        targets: (N,) int64 class whose evidence is mapped.
        inside: (N, 1, S, S) bool: where the image is; the rest of its square is padding.
    """

    images: torch.Tensor
    targets: torch.Tensor
    inside: torch.Tensor

    @classmethod
    def of_squares(cls, images: torch.Tensor, targets: torch.Tensor) -> Inputs:
        """Of images that fill their squares."""
        return cls(images, targets, torch.ones_like(images, dtype=torch.bool))

    def split(self, size: int, device: torch.device) -> Iterator[Inputs]:
        """At most `size` images at a time, on the device."""
        for some in zip(*(values.split(size) for values in self), strict=True):
            yield Inputs(*(values.to(device) for values in some))

    def mirrored(self) -> Inputs:
        """The same of the left-right mirror images."""
        return Inputs(self.images.flip(3), self.targets, self.inside.flip(3))


def inside_of(boxes: Sequence[Letterbox]) -> torch.Tensor:
    """(N, 1, S, S) bool: where each image lies in its square of side S; the rest is padding."""
    inside = torch.zeros(len(boxes), 1, boxes[0].size, boxes[0].size, dtype=torch.bool)
    for mask, box in zip(inside, boxes, strict=True):
        mask[0][box.inner] = True
    return inside
