"""Gates against copies of TRAIN images and twins of accepted ones, both by `likeness`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sonobalance.data.loading import LabelledImages
from sonobalance.randomness import numpy_generator
from sonobalance.synthesis.copies import altered_copies
from sonobalance.synthesis.gates import Scores, Threshold
from sonobalance.synthesis.likeness import (
    compare,
    describe,
    nearest,
    relative_free,
    with_and_without_bars,
)

COPIED = 64  # TRAIN images that are copied, in every way, to measure how many copies are caught


@dataclass(frozen=True)
class Novelty:
    """Is the image something other than a copy of a TRAIN image?

    Score: 1 - likeness to the nearest TRAIN image; 0 for an exact copy.

    Attributes:
        maps: (M, forms, magnifications, 32, 32) float16 of the real TRAIN images.
        real: (M,) distance of each to its nearest TRAIN image of another group.
        false_copies: share of real images that are below the threshold without being as like
            another one as a copy is: how often chance alone makes a copy.
        caught: kind of alteration → share of altered copies of TRAIN images that is rejected.
        threshold: see `Threshold`.
        device: where likeness is computed.
    """

    maps: Tensor
    real: Scores
    false_copies: float
    caught: dict[str, float]
    threshold: Threshold
    device: torch.device | str

    @classmethod
    def calibrated(
        cls,
        train: LabelledImages,
        groups: Sequence[str],
        *,
        caught_copies: float,
        false_copies: float,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> Novelty:
        """Set the threshold between altered copies and unrelated real images.

        Halfway between the distance that `caught_copies` of the altered copies stay below and the
        one that `false_copies` of the real images fall below. Real images as close to another one
        as an altered copy is to its original are undetected relatives and are not counted in the
        latter. Where the two overlap, at the former: copies are caught whatever it costs.

        Args:
            train: real TRAIN images.
            groups: their keys of relatives.
            caught_copies: least share of altered copies to reject, in (0, 1).
            false_copies: most real images to mistake for copies, in (0, 1).
            seed: of the altered copies.
            device: where likeness is computed.
        """
        maps = describe(with_and_without_bars(train.pixels))
        table = relative_free(compare(maps, maps, device, "real likeness"), tuple(groups))
        copies = _copy_distances(train, maps, seed, device)
        farthest = max(
            float(np.quantile(x, caught_copies, method="higher")) for x in copies.values()
        )
        real = nearest(table)[0].double().numpy()
        strangers = nearest(table.masked_fill(table > 1 - farthest, -1.0))[0].double().numpy()
        usual = float(np.quantile(strangers, false_copies))
        value = float(np.nextafter(max(farthest, (farthest + usual) / 2), 1))
        caught = {kind: float(np.mean(x < value)) for kind, x in copies.items()}
        mistaken, alike = float(np.mean(strangers < value)), float(np.mean(real < value))
        rule = (
            f"Distance below which altered copies of real images lie ({min(caught.values()):.1%} "
            f"or more of each kind) and {mistaken:.1%} of real images to their nearest unrelated "
            f"one; {alike:.1%} when relatives that no group names are counted too."
        )
        return cls(maps, real, mistaken, caught, Threshold(value, 1 - alike, rule), device)

    def score(self, pixels: Tensor) -> tuple[Scores, Tensor]:
        """Distances (N,) to the nearest TRAIN image, and its position (N,)."""
        maps = describe(with_and_without_bars(pixels))
        distance, column = nearest(compare(maps, self.maps, self.device, "novelty"))
        return distance.double().numpy(), column


def _copy_distances(
    train: LabelledImages, maps: Tensor, seed: int, device: torch.device | str
) -> dict[str, Scores]:
    """Kind of alteration → distances of altered copies to their nearest TRAIN image."""
    n = min(COPIED, len(train))
    chosen = numpy_generator(seed, "copied images").choice(len(train), n, replace=False)
    copies = altered_copies(train.pixels[torch.as_tensor(np.sort(chosen))], seed)
    altered = describe(with_and_without_bars(torch.cat(list(copies.values()))))
    table = compare(altered, maps, device, "copy likeness")
    parts = nearest(table)[0].double().split(n)
    return {kind: part.numpy() for kind, part in zip(copies, parts, strict=True)}


@dataclass(frozen=True)
class Diversity:
    """Is the image something other than a twin of an accepted one?

    Score: 1 - likeness to the nearest image accepted before; 1 when there is none. The threshold is
    that of novelty: twins are to each other what a copy is to its original.
    """

    threshold: Threshold
    device: torch.device | str

    def tables(self, pool: Tensor, accepted: Tensor) -> tuple[Tensor, Tensor]:
        """Likeness of a pool (N, ...) to the accepted images (N, A) and to itself (N, N)."""
        maps = describe(with_and_without_bars(pool))
        before = describe(with_and_without_bars(accepted)) if len(accepted) else maps[:0]
        return (
            compare(maps, before, self.device, "diversity" if len(before) else ""),
            compare(maps, maps, self.device, "twins"),
        )

    def twin_share(self, itself: Tensor, block: int) -> float:
        """Share of a pool that are twins of an earlier candidate of their block.

        Blocks of one size make pools of different sizes comparable: in a large pool every image
        sooner or later meets one like it.

        Args:
            itself: likeness (N, N) of the pool to itself.
            block: candidates per block; a smaller rest is left out.
        """
        size = min(block, len(itself))
        blocks = [itself[i : i + size, i : i + size] for i in range(0, len(itself), size)]
        earlier = [torch.tril(x, diagonal=-1).max(1).values for x in blocks if len(x) == size]
        return float((1 - torch.cat(earlier) < self.threshold.value).float().mean())
