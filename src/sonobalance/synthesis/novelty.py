"""Gates against copies of TRAIN images and twins of accepted ones, both by `likeness`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.randomness import numpy_generator
from sonobalance.synthesis.copies import altered_copies
from sonobalance.synthesis.gates import Scores, Threshold
from sonobalance.synthesis.likeness import likeness, nearest, relative_free

COPIED = 64  # TRAIN images that are copied, in every way, to measure how many copies are caught


@dataclass(frozen=True)
class Novelty:
    """Is the image something other than a copy of a TRAIN image?

    Score: 1 - likeness to the nearest TRAIN image; 0 for an exact copy.

    Attributes:
        train: the real TRAIN images.
        real: (N,) distance of each to its nearest unrelated TRAIN image.
        caught: kind of alteration → share of altered copies of TRAIN images that is rejected.
        threshold: see `Threshold`.
        device: where likeness is computed.
    """

    train: LabelledImages
    real: Scores
    caught: dict[str, float]
    threshold: Threshold
    device: torch.device | str

    @classmethod
    def calibrated(
        cls,
        train: LabelledImages,
        groups: Sequence[str],
        settings: SynthesisSettings,
        seed: int,
        device: torch.device | str = "cpu",
    ) -> Novelty:
        """Set the threshold between altered copies and unrelated real images.

        Halfway between the distance that `caught_copies` of the altered copies stay below and the
        one that `false_copies` of the real images fall below; where these overlap (undetected
        relatives in TRAIN), at the former: copies are caught whatever it costs.
        """
        table = likeness(train.pixels, train.pixels, device, "real likeness")
        real = nearest(relative_free(table, tuple(groups)))[0].double().numpy()
        copies = _copy_distances(train, seed, device)
        farthest = max(
            float(np.quantile(x, settings.caught_copies, method="higher")) for x in copies.values()
        )
        usual = float(np.quantile(real, settings.false_copies))
        value = float(np.nextafter(max(farthest, (farthest + usual) / 2), 1))
        caught = {kind: float(np.mean(x < value)) for kind, x in copies.items()}
        mistaken = float(np.mean(real < value))
        rule = (
            f"Distance below which altered copies of TRAIN images lie ({min(caught.values()):.1%} "
            f"or more of each kind) and {mistaken:.1%} of real images to their nearest unrelated "
            "one."
        )
        return cls(train, real, caught, Threshold(value, 1 - mistaken, rule), device)

    def score(self, pixels: Tensor) -> tuple[Scores, Tensor]:
        """Distances (N,) to the nearest TRAIN image, and its position (N,)."""
        table = likeness(pixels, self.train.pixels, self.device, "novelty")
        distance, column = nearest(table)
        return distance.double().numpy(), column


def _copy_distances(
    train: LabelledImages, seed: int, device: torch.device | str
) -> dict[str, Scores]:
    """Kind of alteration → distances of altered copies to their nearest TRAIN image."""
    n = min(COPIED, len(train))
    chosen = numpy_generator(seed, "copied images").choice(len(train), n, replace=False)
    copies = altered_copies(train.pixels[torch.as_tensor(np.sort(chosen))], seed)
    table = likeness(torch.cat(list(copies.values())), train.pixels, device, "copy likeness")
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
        return (
            likeness(pool, accepted, self.device, "diversity" if len(accepted) else ""),
            likeness(pool, pool, self.device, "twins"),
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
