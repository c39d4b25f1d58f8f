"""What a round is worth: grouped cross-validation inside TRAIN, scored on real images only.

Synthetic images are used as the classifier uses them: classes weigh the same with and without any,
so that a round is worth what it adds to balancing.

A synthetic image helps to train the probe of a fold only when neither its parents nor the real
image nearest to it lie in that fold. The generator itself has seen all of TRAIN; what leaks through
its weights beyond that is the same in every round, but may favour synthesis over none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, log_loss

from sonobalance.classify.objective import times_shown
from sonobalance.classify.probe import Probe, fit_probe
from sonobalance.config import Balance, SynthesisSettings
from sonobalance.data.split import grouped_folds
from sonobalance.errors import InputError
from sonobalance.randomness import derive, numpy_generator

Folds = NDArray[np.int64]  # (R, n): fold of each real image in each repeat
Predictions = NDArray[np.int64]  # (R, n): class of each real image by the probe that never saw it
RESAMPLES = 2000
CONFIDENCE = 0.95
STRENGTHS = (0.001, 0.01, 0.1)  # inverse regularisation of the probe to choose from


@dataclass(frozen=True)
class Additions:
    """Synthetic images as the inner validation sees them.

    Attributes:
        features: (M, F) of the images as they were drawn.
        seen: (M, F) of the images as a classifier sees them.
        targets: (M,).
        relatives: for each, the positions of the real images it descends from or resembles.
    """

    features: NDArray[np.float64]
    seen: NDArray[np.float64]
    targets: NDArray[np.int64]
    relatives: tuple[frozenset[int], ...]

    def join(self, other: Additions) -> Additions:
        """These followed by the others."""
        return Additions(
            np.concatenate([self.features, other.features]),
            np.concatenate([self.seen, other.seen]),
            np.concatenate([self.targets, other.targets]),
            self.relatives + other.relatives,
        )


def check_relatives(labels: Sequence[str], groups: Sequence[str]) -> None:
    """See that images can be judged: half of each class by what is learnt from the other.

    Args:
        labels: class of each TRAIN image.
        groups: its key of relatives.

    Raises:
        InputError: a class has fewer than two unrelated images.
    """
    for label in sorted(set(labels)):
        if len({g for mine, g in zip(labels, groups, strict=True) if mine == label}) < 2:
            raise InputError(
                f"Expected at least two unrelated images of the class {label!r} in TRAIN for "
                "synthesis, but there is only one; add images of it, or do without generated ones "
                "(arms `none` and `over-sampling`)."
            )


@dataclass(frozen=True)
class InnerValidation:
    """Real TRAIN features with their folds.

    Attributes:
        features: (n, F) of the real images.
        targets: (n,).
        groups: (n,) keys of relatives.
        folds: see `Folds`.
        c: inverse regularisation of every probe, with the lowest log-loss on the real images; it
            stays the same in all rounds.
        share: most of a class's weight that its synthetic images have in `predict`.
    """

    features: NDArray[np.float64]
    targets: NDArray[np.int64]
    groups: NDArray[np.str_]
    folds: Folds
    c: float = STRENGTHS[0]
    share: float = 1.0

    @classmethod
    def of(
        cls,
        features: NDArray[np.float64],
        targets: NDArray[np.int64],
        groups: Sequence[str],
        settings: SynthesisSettings,
        seed: int,
    ) -> InnerValidation:
        """Deal the folds; as many as the class with the fewest groups, at least two, allows."""
        keys = np.asarray(groups, dtype=np.str_)
        fewest = min(len(set(keys[targets == k])) for k in np.unique(targets))
        number = min(settings.inner_folds, fewest)
        names = [str(k) for k in targets]
        folds = [
            grouped_folds(names, list(groups), number, derive(seed, "inner folds", repeat) % 2**31)
            for repeat in range(settings.inner_repeats)
        ]
        made = [cls(features, targets, keys, np.asarray(folds, np.int64), c=c) for c in STRENGTHS]
        return min(made, key=lambda inner: inner.loss())

    def probes(self) -> list[Probe]:
        """The probes of the first deal, each trained on the real images outside its fold."""
        folds = self.folds[0]
        return [
            fit_probe(self.features[folds != f], self.targets[folds != f], c=self.c)
            for f in range(folds.max() + 1)
        ]

    def cross_fitted(self) -> NDArray[np.float64]:
        """(n, K) probabilities of each real image by the probe of `probes` that never saw it."""
        out = np.zeros((len(self.targets), len(self._labels)))
        for f, probe in enumerate(self.probes()):
            held = self.folds[0] == f
            out[held] = probe.probabilities(self.features[held])
        return out

    def loss(self) -> float:
        """Cross-fitted log-loss on the real images."""
        return float(log_loss(self.targets, self.cross_fitted(), labels=self._labels))

    def seeing(self, features: NDArray[np.float64], share: float) -> InnerValidation:
        """The same folds for other features of the same images, `c` chosen anew."""
        made = [replace(self, features=features, c=c, share=share) for c in STRENGTHS]
        return min(made, key=lambda inner: inner.loss())

    def predict(
        self, added: Additions | None, *, balance: Balance = "over-sampling"
    ) -> Predictions:
        """Class of every real image by probes that never saw its fold; classes weigh the same."""
        out = np.zeros_like(self.folds)
        for repeat, folds in enumerate(self.folds):
            for f in range(folds.max() + 1):
                x, y, made = self._training(added, folds, f)
                weights = times_shown(y, made, balance=balance, share=self.share)
                probe = fit_probe(x, y, c=self.c, weights=weights)
                held = folds == f
                out[repeat, held] = probe.probabilities(self.features[held]).argmax(1)
        return out

    def _training(
        self, added: Additions | None, folds: NDArray[np.int64], fold: int
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
        """Real images outside the fold, the synthetic ones unrelated to it, and which are which."""
        seen = folds != fold
        x, y = self.features[seen], self.targets[seen]
        if added is None or not len(added.targets):
            return x, y, np.zeros(len(y), bool)
        held = frozenset(np.flatnonzero(~seen).tolist())
        free = np.array([held.isdisjoint(relatives) for relatives in added.relatives])
        return (
            np.concatenate([x, added.seen[free]]),
            np.concatenate([y, added.targets[free]]),
            np.arange(len(y) + free.sum()) >= len(y),
        )

    def used_share(self, added: Additions) -> float:
        """Mean share of the synthetic images that a fold's probe may train on."""
        shares = [
            np.mean([folds[list(r)].tolist().count(f) == 0 for r in added.relatives])
            for folds in self.folds
            for f in range(folds.max() + 1)
        ]
        return float(np.mean(shares))

    def recalls(self, predictions: Predictions) -> list[float]:
        """Recall of each class, over all repeats."""
        truth = np.tile(self.targets, len(predictions))
        table = confusion_matrix(truth, predictions.ravel(), labels=self._labels)
        return [float(v) for v in np.diag(table) / np.maximum(table.sum(1), 1)]

    def macro_f1(self, predictions: Predictions) -> float:
        """Macro-F1 of real images, mean over the repeats."""
        ones = np.ones((1, self._counts(predictions).shape[0]))
        return float(_macro_f1(self._counts(predictions), ones)[0])

    def gain(self, new: Predictions, old: Predictions, seed: int) -> tuple[float, float, float]:
        """Difference of macro-F1 with a paired interval, groups resampled (95 %)."""
        a, b = self._counts(new), self._counts(old)
        g = len(a)
        random = numpy_generator(seed, "inner gain")
        draws = random.multinomial(g, [1 / g] * g, RESAMPLES).astype(np.float64)
        differences = _macro_f1(a, draws) - _macro_f1(b, draws)
        tail = (1 - CONFIDENCE) / 2
        low, high = np.quantile(differences, [tail, 1 - tail])
        return self.macro_f1(new) - self.macro_f1(old), float(low), float(high)

    @property
    def _labels(self) -> list[int]:
        return list(range(int(self.targets.max()) + 1))

    def _counts(self, predictions: Predictions) -> NDArray[np.float64]:
        """(G, R, K, K): confusion of each group in each repeat."""
        k = len(self._labels)
        _, group = np.unique(self.groups, return_inverse=True)
        out = np.zeros((group.max() + 1, len(predictions), k, k))
        for repeat, predicted in enumerate(predictions):
            cells: Any = (group, repeat, self.targets, predicted)
            np.add.at(out, cells, 1)
        return out


def _macro_f1(counts: NDArray[np.float64], draws: NDArray[np.float64]) -> NDArray[np.float64]:
    """(B,) macro-F1, mean over repeats, of (G, R, K, K) counts weighted by draws (B, G)."""
    table = np.tensordot(draws, counts, axes=1)
    hits = np.diagonal(table, axis1=2, axis2=3)
    total = table.sum(2) + table.sum(3)
    f1 = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    out: NDArray[np.float64] = f1.mean((1, 2))
    return out
