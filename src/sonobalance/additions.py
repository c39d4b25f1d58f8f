"""What an arm trains with beside the real images of TRAIN."""

from __future__ import annotations

from sonobalance.arms import TREATMENTS
from sonobalance.artefacts import synthetic_of
from sonobalance.config import Arm
from sonobalance.data.loading import LabelledImages
from sonobalance.progress import console
from sonobalance.runs import Run
from sonobalance.synthesis.copy_paste import copy_paste

# Synthetic images come without outlines, also where the generator draws masks: no gate looks at
# those masks, no setting asks for them, and nothing has shown that a lesion head learns from them.
# To it these images are ones whose lesion is unknown.


def added_images(run: Run, arm: Arm, train: LabelledImages) -> LabelledImages | None:
    """Accepted synthetic images, or ones composed here; None for an arm without any.

    Args:
        run: for its synthesis and seed.
        arm: which.
        train: real TRAIN images at the classifier's size, for `copy-paste` with outlines.
    """
    if not TREATMENTS[arm].copy_paste:
        return synthetic_of(run, arm, train.pixels.shape[-1], train.classes)
    made = copy_paste(train, seed=run.settings.seed)
    if len(made):
        return made
    console.print(
        "  No lesion could be set into another image (that needs masks, in a class that is not the "
        f"largest and in another one): {arm} is over-sampling here."
    )
    return None
