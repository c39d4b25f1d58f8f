"""Can the class be guessed without looking at the tissue? Grouped cross-validation says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import balanced_accuracy_score, mutual_info_score
from sklearn.model_selection import StratifiedGroupKFold

from sonobalance.randomness import derive

FOLDS = 5
TREES = 100


@dataclass(frozen=True)
class Guess:
    """How well the class is guessed from some numbers alone.

    Attributes:
        accuracy: share of images guessed right in grouped cross-validation, in [0, 1].
        chance: share of the largest class, in [0, 1].
        balanced_accuracy: mean over classes of the share guessed right, in [0, 1], by a forest
            that weighs the classes alike.
        balanced_chance: 1 over the number of classes.
        folds: folds of the cross-validation.
        images: images used.
    """

    accuracy: float
    chance: float
    balanced_accuracy: float
    balanced_chance: float
    folds: int
    images: int

    @property
    def excess(self) -> float:
        """Balanced accuracy beyond chance, 0 for none, 1 for always right."""
        beyond = (self.balanced_accuracy - self.balanced_chance) / (1 - self.balanced_chance)
        return min(1.0, max(0.0, beyond))

    def as_json(self) -> dict[str, Any]:
        """The values with four decimals."""
        return {key: round(value, 4) for key, value in asdict(self).items()}


def guess_class(
    features: Sequence[Sequence[float]], labels: Sequence[str], groups: Sequence[str], seed: int
) -> Guess | None:
    """Guess classes by a random forest (Breiman 2001) in grouped, stratified cross-validation.

    Args:
        features: (N, F) numbers.
        labels: (N,) class names.
        groups: (N,) group names, kept whole.
        seed: of forest and folds.

    Returns:
        The accuracies; None when fewer than two classes have two groups each.
    """
    owners = {
        name: {g for g, y in zip(groups, labels, strict=True) if y == name} for name in set(labels)
    }
    usable = {name for name, own in owners.items() if len(own) >= 2}
    if len(usable) < 2:
        return None
    rows = [i for i, label in enumerate(labels) if label in usable]
    x = np.asarray(features, np.float64)[rows]
    y = np.asarray(labels)[rows]
    g = np.asarray(groups)[rows]
    folds = min(FOLDS, *(len(owners[name]) for name in usable), *Counter(y.tolist()).values())
    state = derive(seed, "audit", "guess") % 2**32
    plain, weighted = y.copy(), y.copy()
    for train, test in StratifiedGroupKFold(folds, shuffle=True, random_state=state).split(x, y, g):
        for guessed, weights in ((plain, None), (weighted, "balanced_subsample")):
            forest = RandomForestClassifier(
                TREES, min_samples_leaf=2, class_weight=weights, random_state=state
            )
            guessed[test] = forest.fit(x[train], y[train]).predict(x[test])
    counts = Counter(y.tolist())
    return Guess(
        float((plain == y).mean()), max(counts.values()) / len(y),
        float(balanced_accuracy_score(y, weighted)), 1 / len(counts), folds, len(y),
    )  # fmt: skip


def mutual_information_bits(first: Sequence[str], second: Sequence[str]) -> float:
    """Mutual information of two labellings of the same images, bits; 0 without images."""
    if not first:
        return 0.0
    return max(0.0, float(mutual_info_score(first, second)) / float(np.log(2)))
