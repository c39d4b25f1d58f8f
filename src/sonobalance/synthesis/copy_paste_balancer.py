"""Copy-paste for people with their own training code, in the manners of imbalanced-learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sonobalance.errors import SettingsError
from sonobalance.synthesis.copy_paste import copy_paste
from sonobalance.synthesis.given import Images, joined, train_set


class CopyPasteBalancer:
    """Fills up rare classes with their own lesions in the tissue of other images; learns nothing.

    Give it TRAIN only, never images that will validate or test. The result shows lesions of real
    patients: share it only as the images themselves.

    Args:
        image_size_px: side S of the result, 32 to 1024.
        random_state: seed of every choice.

    Attributes:
        sample_is_synthetic_: (M,) bool, of the last result.
        sample_ids_: M ids of the last result; that of a made image names both images it is of.
        sample_masks_: (M, S, S) uint8 lesion masks of the last result, 0 to 255.
    """

    sample_is_synthetic_: NDArray[np.bool_]
    sample_ids_: tuple[str, ...]
    sample_masks_: Images

    def __init__(self, *, image_size_px: int = 224, random_state: int = 0) -> None:
        self.image_size_px, self.random_state = image_size_px, random_state

    def fit_resample(
        self,
        images: Sequence[Images] | Images,
        labels: ArrayLike,
        *,
        masks: Sequence[NDArray[Any] | None] | NDArray[Any],
    ) -> tuple[Images, NDArray[Any]]:
        """Return the images with made ones of the classes that have lesions and are rarer.

        Args:
            images: N grey images (H, W) uint8 of any sizes, or one array (N, H, W).
            labels: N class names or numbers.
            masks: N lesion masks of the images' sizes, not 0 inside; an empty one says that there
                is no lesion, None that nobody looked: such an image is neither source nor ground.

        Returns:
            (M, S, S) uint8, M ≥ N: the real images letterboxed, in their order, then the made ones;
            and M labels of the type that was given.

        Raises:
            InputError: images, labels and masks do not fit together.
            SettingsError: `image_size_px` is not of 32 to 1024.
        """
        if not 32 <= self.image_size_px <= 1024:
            raise SettingsError(
                f"Expected image_size_px to be 32 to 1024, but got {self.image_size_px}."
            )
        given = np.asarray(labels)
        train = train_set(images, given, self.image_size_px, masks)
        made = copy_paste(train, seed=self.random_state)
        both, names, self.sample_is_synthetic_ = joined(train, made, given)
        self.sample_ids_ = both.ids
        self.sample_masks_ = both.known_outlines().masks[:, 0].numpy()
        return both.pixels[:, 0].numpy(), names
