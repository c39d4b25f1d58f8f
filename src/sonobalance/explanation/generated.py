"""Maps on synthetic images, whose lesions are known because the generator drew them.

Where experts outlined few images, these show on many more whether a map lies on the lesion. What
is known here is what the generator meant: how well that is a lesion stands in the scores of
realism and class, not here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from sonobalance.config import ExplanationSettings
from sonobalance.data.loading import INSIDE, LabelledImages
from sonobalance.explanation.layers import Layer
from sonobalance.explanation.measure import CHEAP_PASSES, CONTROLS, measure_cheap
from sonobalance.explanation.scoring import ScoreTable
from sonobalance.explanation.study import Study
from sonobalance.progress import bar


def on_generated(
    model: nn.Module,
    layer: Layer,
    images: LabelledImages,
    probabilities: NDArray[np.float64],
    settings: ExplanationSettings,
    *,
    seed: int,
    mirror: bool,
) -> dict[str, Any]:
    """Localisation scores of the cheap maps on synthetic images with a drawn lesion.

    Args:
        model: (N, 1, S, S) float32 in [-1, 1] → (N, K) logits.
        layer: where class activation maps look.
        images: at least one, with `outlines`.
        probabilities: (N, K) what is predicted for them.
        settings: whose evidence is mapped.
        seed: of the control maps.
        mirror: as for `explain.explain_images`.

    Returns:
        {"n", "maps": {MAP: SCORES}, "controls": {CONTROL: SCORES}} as in `explanation.json`, every
        image a group of its own.
    """
    pixels = [square.numpy() for square in images.pixels[:, 0]]
    lesions = [mask.numpy() > INSIDE for mask in images.known_outlines().masks[:, 0]]
    study = Study(
        model, layer, images, pixels, lesions, [None] * len(images),
        np.asarray(images.ids, np.str_), probabilities, settings, seed, mirror,
    )  # fmt: skip
    table = ScoreTable()
    with bar("explaining synthetic images", CHEAP_PASSES * len(images)) as shown:
        measure_cheap(study, table, (), shown)
    found = {name: table.summary(name, study) for name in table.rows}
    return {
        "n": len(images),
        "maps": {name: scores for name, scores in found.items() if name not in CONTROLS},
        "controls": {name: found[name] for name in CONTROLS},
    }
