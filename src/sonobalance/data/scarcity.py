"""A class made scarcer: what balancing is worth when there is less of it to learn from."""

from __future__ import annotations

import math
from dataclasses import replace

from sonobalance.data.official import EXCLUDED, Part
from sonobalance.data.split import Splits
from sonobalance.errors import InputError
from sonobalance.randomness import numpy_generator

FEWEST_GROUPS = 3


def scarcer(splits: Splits, label: str, share: float, seed: int) -> Splits:
    """The same parts with a share of one class's groups left in TRAIN; VAL and TEST stay whole.

    The groups are left out in one random order, so that what a smaller share keeps, a larger one
    keeps too. At least three groups stay, since fewer cannot be cross-validated.

    Args:
        splits: parts, whose TRAIN is cut.
        label: the class.
        share: of its TRAIN groups that stay, in (0, 1].
        seed: of the order.

    Raises:
        InputError: there is no such class, or the share is out of range.
    """
    if label not in splits.manifest.classes or not 0 < share <= 1:
        raise InputError(
            f"Expected a class among {', '.join(splits.manifest.classes)} and a share in (0, 1] "
            f"to be left of it in TRAIN, but got {label!r} and {share}."
        )
    of_class = [r for r in splits.of("train") if r.label == label]
    names = sorted({splits.group[r.id] for r in of_class})
    order = numpy_generator(seed, "scarcity", label).permutation(len(names))
    kept = max(math.ceil(share * len(names) - 1e-9), min(FEWEST_GROUPS, len(names)))
    dropped = {names[i] for i in order[kept:]}
    part: dict[str, Part] = dict(splits.part)
    part |= {r.id: EXCLUDED for r in of_class if splits.group[r.id] in dropped}
    return replace(splits, part=part)
