"""Maps on synthetic images, whose lesions are known because the generator drew them.

Where experts outlined few images, these show on many more whether a map lies on the lesion. What
is known here is what the generator meant: how well that is a lesion stands in the scores of
realism and class, not here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from sonobalance.config import ExplanationSettings
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.explanation.layers import Layer
from sonobalance.explanation.maps import probabilities_of
from sonobalance.explanation.measure import CHEAP_PASSES, CONTROLS, measure_cheap
from sonobalance.explanation.scoring import ScoreTable
from sonobalance.explanation.study import Study
from sonobalance.progress import bar
from sonobalance.randomness import numpy_generator

INSIDE = 127  # a mask's share of a pixel, of 255, above which it is lesion


def on_generated(
    model: nn.Module,
    layer: Layer,
    images: LabelledImages,
    settings: ExplanationSettings,
    *,
    seed: int,
    mirror: bool,
) -> dict[str, Any] | None:
    """Localisation scores of the cheap maps on synthetic images that have a drawn lesion.

    Args:
        model: (N, 1, S, S) float32 in [-1, 1] → (N, K) logits.
        layer: where class activation maps look.
        images: with `outlines`; a random `settings.generated_images` of those that have a lesion
            are taken.
        settings: whose evidence is mapped, and on how many images.
        seed: of the sample and of the control maps.
        mirror: as for `explain.explain_images`.

    Returns:
        {"n", "maps": {MAP: SCORES}, "controls": {CONTROL: SCORES}} as in `explanation.json`, every
        image a group of its own; None where no image has a lesion.
    """
    chosen = _with_lesion(images, settings.generated_images, seed)
    if not len(chosen):
        return None
    pixels = [square.numpy() for square in chosen.pixels[:, 0]]
    lesions = [mask.numpy() > INSIDE for mask in chosen.known_outlines().masks[:, 0]]
    p = probabilities_of(model, to_unit(chosen.pixels), settings.batch_size).double().numpy()
    study = Study(
        model, layer, chosen, pixels, lesions, [None] * len(chosen),
        np.asarray(chosen.ids, np.str_), p, settings, seed, mirror,
    )  # fmt: skip
    table = ScoreTable()
    with bar("explaining synthetic images", CHEAP_PASSES * len(chosen)) as shown:
        measure_cheap(study, table, (), shown)
    found = {name: table.summary(name, study) for name in table.rows}
    return {
        "n": len(chosen),
        "maps": {name: scores for name, scores in found.items() if name not in CONTROLS},
        "controls": {name: found[name] for name in CONTROLS},
    }


def _with_lesion(images: LabelledImages, most: int, seed: int) -> LabelledImages:
    """A random part of the images whose mask marks some pixels and not all."""
    inside = (images.known_outlines().masks > INSIDE).float().mean((1, 2, 3))
    rows = np.flatnonzero(((inside > 0) & (inside < 1)).numpy())
    order = numpy_generator(seed, "explain", "generated").permutation(rows)
    return images.take(sorted(order[:most]))
