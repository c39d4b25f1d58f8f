"""The part of TRAIN that the GAN never sees, and on which its snapshots are measured.

A generator that copies what it learnt from looks perfect on exactly those images; whole groups of
relatives are kept from it for that reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from sonobalance.data.loading import LabelledImages
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.framing import fill, find_frames, with_masks
from sonobalance.gan.monitor import features, kernel_distance
from sonobalance.gan.networks import Encoder
from sonobalance.randomness import numpy_generator

FEWEST_HELD = 6  # images of a class; with fewer, the class is measured on the images learnt from


@dataclass(frozen=True)
class Held:
    """What snapshots are compared with.

    Attributes:
        images: of every class: the held-back ones, or all where a class has too few to spare.
        apart: names of the classes whose images here were kept from the GAN.
    """

    images: LabelledImages
    apart: tuple[str, ...]

    @property
    def kept_away(self) -> int:
        """How many images the GAN never sees."""
        return sum(self.images.classes[k] in self.apart for k in self.images.targets.tolist())


def hold_back(
    images: LabelledImages, groups: Sequence[str], share: float, seed: int
) -> tuple[LabelledImages, Held]:
    """Split TRAIN into what the GAN learns from and what it is measured on.

    Args:
        images: TRAIN.
        groups: a key of relatives for each image.
        share: of the images of each class, at most, that are held back; whole groups of one
            class only.
        seed: of the order in which groups are taken.
    """
    keys = np.asarray(groups, dtype=np.str_)
    targets = images.targets.numpy()
    order = numpy_generator(seed, "gan", "held back").permutation(np.unique(keys))
    away = np.zeros(len(images), dtype=bool)
    for key in order:
        mine = keys == key
        of = targets == targets[mine][0]
        if of[mine].all() and (away | mine)[of].mean() <= share:
            away |= mine
    shown = away.copy()
    for target in np.unique(targets):
        of = targets == target
        if away[of].sum() < FEWEST_HELD:
            away[of], shown[of] = False, True
    apart = tuple(images.classes[t] for t in np.unique(targets[away]))
    fit, held = np.flatnonzero(~away), np.flatnonzero(shown)
    return images.take(fit), Held(images.take(held), apart)


class Ruler:
    """Kernel distance of generated to held-back images, class by class, in one feature space.

    The features are those of the pretrained backbone where there is one, else of the warm-up's
    encoder, centred and divided by one number, their spread over the images that the GAN learns
    from: dividing each by its own lets a few features that are almost constant decide.

    Args:
        eyes: frozen pretrained features.
        encoder: as the warm-up left it.
        learnt: (N, C, S, S) float32 in [-1, 1], framed: what the GAN learns from.
        held: what is compared with.
        masks: whether the images have a mask as second channel.
    """

    def __init__(
        self,
        eyes: FrozenFeatures | None,
        encoder: Encoder,
        learnt: Tensor,
        held: Held,
        *,
        masks: bool = False,
    ) -> None:
        self._eyes, self._encoder, self._targets = eyes, encoder, held.images.targets
        of_learnt = self._features(learnt)
        self._mean, self._spread = of_learnt.mean(0), of_learnt.var(0).mean().sqrt() + 1e-6
        stacked = with_masks(held.images, masks)
        real = fill(stacked, find_frames(stacked)).to(learnt.device)
        self._real = (self._features(real) - self._mean) / self._spread

    def distances(self, fake: Tensor, targets: Tensor) -> dict[int, float]:
        """KID of each class with at least two images, by its index.

        `fake` is (N, C, S, S) float32 in [-1, 1], framed; `targets` (N,) int64.
        """
        of_fake = (self._features(fake) - self._mean) / self._spread
        found = {}
        for target in self._targets.unique().tolist():
            mine = self._real[(self._targets == target).to(self._real.device)]
            if len(mine) > 1:
                distance = kernel_distance(mine, of_fake[(targets == target).to(of_fake.device)])
                found[target] = float(distance)
        return found

    def _features(self, images: Tensor) -> Tensor:
        return features(self._encoder, images) if self._eyes is None else self._eyes.pooled(images)
