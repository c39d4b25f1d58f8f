"""The realism gate of a generator, calibrated on images that its discriminators never saw.

Discriminators know their training images by heart and call them far more real than any new image,
real or not. Where the generator held images of a class back, these alone set the scale.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.gan.held import FEWEST_HELD
from sonobalance.synthesis.gates import Realism
from sonobalance.synthesis.generator import ImageGenerator


def realism_of(
    generator: ImageGenerator, train: LabelledImages, settings: SynthesisSettings
) -> Realism:
    """Calibrate the realism gate for the generator of a round.

    Args:
        generator: its discriminators are asked.
        train: real TRAIN images.
        settings: for `realism_pass`.

    Returns:
        The gate; its reference images are, class by class, those that were not learnt, or all of
        the class where there are fewer than `FEWEST_HELD`.
    """
    unseen = ~np.isin(np.array(train.ids), np.array(generator.learnt, dtype=np.str_))
    targets = train.targets.numpy()
    reference = _reference(unseen, targets)
    images = train.take(np.flatnonzero(reference))
    log_r1, log_r2 = generator.log_ratios(images.pixels, images.targets)
    learnt = int((reference & ~unseen).sum())
    which = f"{len(images) - learnt} real TRAIN images that the discriminators never saw"
    which += f" (and {learnt} that they learnt from)" if learnt else ""
    return Realism.calibrated(
        log_r1.double().numpy(), log_r2.double().numpy(), images.targets.numpy(), settings, which
    )


def _reference(unseen: NDArray[np.bool_], targets: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which images set the scale."""
    enough = torch.bincount(torch.from_numpy(targets[unseen]), minlength=int(targets.max()) + 1)
    return np.asarray(unseen | (enough.numpy() < FEWEST_HELD)[targets])
