"""Gates on what an image shows: is it realistic, of its class, and within the real range?

Every gate gives a score in [0, 1]; an image passes when its score reaches the threshold, which real
TRAIN images set. `synthesis.novelty` holds the gates against copies and twins.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from sonobalance.config import SynthesisSettings

Scores = NDArray[np.float64]
Targets = NDArray[np.int64]
NEIGHBOURS = 3
TINY = 1e-9


@dataclass(frozen=True)
class Threshold:
    """Where a gate closes, and how that was found.

    Attributes:
        value: an image passes when its score is at least this.
        real_pass: measured share of real TRAIN images that pass.
        rule: how the value was calibrated, one sentence.
    """

    value: float
    real_pass: float
    rule: str

    def admits(self, scores: Scores) -> NDArray[np.bool_]:
        """Which scores pass."""
        return np.asarray(scores >= self.value)


def share_below(values: Scores, reference: Scores) -> Scores:
    """Share of the reference values that are ≤ each value."""
    return np.searchsorted(np.sort(reference), values, side="right") / len(reference)


def share_above(values: Scores, reference: Scores) -> Scores:
    """Share of the reference values that are ≥ each value."""
    return 1 - np.searchsorted(np.sort(reference), values, side="left") / len(reference)


def passing(scores: Scores, share: float, rule: str) -> Threshold:
    """The highest threshold that at least this share of real scores reaches."""
    ordered = np.sort(scores)
    refused = int(np.floor((1 - share) * len(ordered) + 1e-9))  # (1 - 0.9) 10 is less than 1
    value = float(ordered[refused])
    return Threshold(value, float(np.mean(scores >= value)), rule)


@dataclass(frozen=True)
class Realism:
    """Do both discriminators take the image for a real one of its class?

    Score: the smaller of the two ranks of log r1 and log r2 among real images of the class;
    the smaller one measures the agreement of two views, coarse and fine. They are not independent:
    where weights are given, both also read the same frozen features through mixers of their own.

    Attributes:
        log_r1, log_r2: (N,) of the real images that set the scale.
        targets: (N,) their classes.
        threshold: see `Threshold`.
    """

    log_r1: Scores
    log_r2: Scores
    targets: Targets
    threshold: Threshold

    @classmethod
    def calibrated(
        cls,
        log_r1: Scores,
        log_r2: Scores,
        targets: Targets,
        settings: SynthesisSettings,
        which: str = "real TRAIN images",
    ) -> Realism:
        """Set the threshold so that `realism_pass` of the real images pass; `which` names them."""
        score = np.zeros(len(targets))
        for k in np.unique(targets):
            of = targets == k
            score[of] = _agreement(log_r1[of], log_r2[of], log_r1[of], log_r2[of])
        rule = (
            f"Smaller rank of log r1 and log r2 among the {which} of the class, reached by "
            f"{settings.realism_pass:.0%} of them."
        )
        return cls(log_r1, log_r2, targets, passing(score, settings.realism_pass, rule))

    def score(self, log_r1: Scores, log_r2: Scores, target: int) -> Scores:
        """Scores of candidates of one class."""
        of = self.targets == target
        return _agreement(log_r1, log_r2, self.log_r1[of], self.log_r2[of])

    def most_real(
        self, log_r1: Scores, log_r2: Scores, target: int, share: float
    ) -> NDArray[np.bool_]:
        """The share of a pool of one class that both discriminators take for the most real.

        Each log ratio is brought to the mean and spread of the class's real images, and the smaller
        of the two counts. Ranking a pool by the discriminator, rather than asking for what real
        images reach: Azadi, Olsson, Darrell, Goodfellow & Odena, ICLR 2019; Sinha et al., NeurIPS
        2020 (top-k).
        """
        of = self.targets == target
        pairs = ((log_r1, self.log_r1[of]), (log_r2, self.log_r2[of]))
        usual = [(x - real.mean()) / max(real.std(), TINY) for x, real in pairs]
        best = np.argsort(-np.minimum(*usual), kind="stable")[: int(share * len(log_r1))]
        return np.isin(np.arange(len(log_r1)), best)


def _agreement(log_r1: Scores, log_r2: Scores, real_r1: Scores, real_r2: Scores) -> Scores:
    return np.minimum(share_below(log_r1, real_r1), share_below(log_r2, real_r2))


@dataclass(frozen=True)
class ClassMatch:
    """Does a classifier that saw real TRAIN images only find the class that was asked for?

    Score: the cross-fitted probability of the class.

    Attributes:
        thresholds: one per class.
        hard: one value per class below its threshold; images in between are hard examples, of which
            a share of each round is kept.
    """

    thresholds: tuple[Threshold, ...]
    hard: tuple[float, ...]

    @classmethod
    def calibrated(
        cls, probabilities: Scores, targets: Targets, settings: SynthesisSettings
    ) -> ClassMatch:
        """Set the thresholds from cross-fitted probabilities (N, K) of the real images."""
        thresholds, hard = [], []
        for k in range(probabilities.shape[1]):
            own, other = probabilities[targets == k, k], probabilities[targets != k, k]
            value = max(
                float(np.quantile(own, 1 - settings.class_pass)),
                _just_above(other, settings.class_reject),
            )
            failing = float(np.mean(own < value))
            thresholds.append(Threshold(value, 1 - failing, _class_rule(other, value, failing)))
            hard.append(float(np.quantile(own, failing / 2)))
        return cls(tuple(thresholds), tuple(hard))

    def admits(self, scores: Scores, target: int) -> NDArray[np.bool_]:
        """Which probabilities reach the threshold of the class."""
        return self.thresholds[target].admits(scores)

    def is_hard(self, scores: Scores, target: int) -> NDArray[np.bool_]:
        """Which probabilities are below the threshold, but in the better half of real failures."""
        return np.asarray((scores < self.thresholds[target].value) & (scores >= self.hard[target]))


def _just_above(scores: Scores, share: float) -> float:
    """The least value below which at least this share of the scores lie."""
    ordered = np.sort(scores)
    below = int(np.ceil(share * len(ordered) - 1e-9))
    return float(np.nextafter(ordered[below - 1], np.inf)) if below else 0.0


def _class_rule(other: Scores, value: float, failing: float) -> str:
    rejected = float(np.mean(other < value))
    return (
        f"Cross-fitted probability that {1 - failing:.0%} of the class's real TRAIN images reach "
        f"and {rejected:.0%} of the other classes' do not."
    )


@dataclass(frozen=True)
class Typicality:
    """Is the image within the real range of its class in feature space?

    Score: the share of the class's real TRAIN images that lie at least as far from their third
    nearest unrelated image of the class; features are standardised over TRAIN.

    Attributes:
        features: (N, F) of the real TRAIN images.
        targets: (N,) their classes.
        distances: (N,) of each to its third nearest unrelated image of the class.
        slack: factor by which the real distances are stretched.
        threshold: see `Threshold`.
    """

    features: Scores
    targets: Targets
    distances: Scores
    slack: float
    threshold: Threshold

    @classmethod
    def calibrated(
        cls, features: Scores, targets: Targets, groups: NDArray[np.str_],
        settings: SynthesisSettings,
    ) -> Typicality:  # fmt: skip
        """Set the threshold so that `typicality_pass` of the real images pass."""
        distances, scores = np.zeros(len(targets)), np.zeros(len(targets))
        for k in np.unique(targets):
            of = targets == k
            table = cdist(features[of], features[of])
            table[groups[of][:, None] == groups[of][None, :]] = np.inf
            distances[of] = _to_third(table)
            scores[of] = share_above(distances[of], distances[of])
        rule = (
            "Share of the class's real TRAIN images at least as far from their own class; "
            f"{settings.typicality_pass:.0%} of them pass."
        )
        threshold = passing(scores, settings.typicality_pass, rule)
        return cls(features, targets, distances, settings.typicality_slack, threshold)

    def score(self, features: Scores, target: int) -> Scores:
        """Scores of candidates of one class."""
        of = self.targets == target
        distances = _to_third(cdist(features, self.features[of]))
        return share_above(distances, self.slack * self.distances[of])


def _to_third(table: Scores) -> Scores:
    """Distance to the third nearest column, or the last finite one where there are fewer."""
    ordered = np.sort(table, axis=1)[:, :NEIGHBOURS]
    finite = np.where(np.isfinite(ordered), ordered, -np.inf).max(axis=1, initial=-np.inf)
    return np.where(np.isfinite(finite), finite, 0.0)
