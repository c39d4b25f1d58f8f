"""Dealing whole groups to parts or folds so that every class comes close to its share everywhere.

The aim is a small relative deviation Σ (n_pc - t_pc)² / (t_pc N_c) over parts p and classes c, with
n the images dealt, t the images wanted and N the images of the class. Groups are dealt from the
largest to the smallest, each to the part where the deviation grows least; then single groups are
moved as long as that lowers it. A class that is missing in a part outweighs every deviation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from sonobalance.errors import InputError
from sonobalance.randomness import numpy_generator

PARTS = 3  # TRAIN, VAL and TEST
PASSES = 8
MISSING = 1e3  # weight of a class that is absent from a part

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def deal(
    counts: Ints,
    targets: Floats,
    rng: np.random.Generator,
    allowed: NDArray[np.bool_] | None = None,
) -> Ints:
    """Deal groups to parts.

    Args:
        counts: (G, C) images of each class in each group.
        targets: (P, C) images of each class wanted in each part.
        rng: breaks ties between groups of one size.
        allowed: (G, P) parts that each group may go to; all when None.

    Returns:
        (G,) int64, the part of each group.
    """
    table = _Table(counts, targets, allowed)
    shuffled = rng.permutation(len(counts))
    largest_first = shuffled[np.argsort(-counts[shuffled].sum(axis=1), kind="stable")]
    for group in largest_first:
        table.put(group, int(np.argmin(table.growth(group))))
    for _ in range(PASSES):
        moved = [table.improve(group) for group in shuffled]
        if not any(moved):
            break
    return table.part


class _Table:
    """Groups being dealt: the part of each, and what every part holds so far."""

    def __init__(self, counts: Ints, targets: Floats, allowed: NDArray[np.bool_] | None) -> None:
        parts = len(targets)
        self.counts = counts
        self.targets = np.maximum(targets, 0.5)
        self.weights = 1 / (self.targets * np.maximum(counts.sum(axis=0), 1))
        self.barred = np.zeros((len(counts), parts)) if allowed is None else np.where(
            allowed, 0.0, np.inf
        )  # fmt: skip
        self.part = np.full(len(counts), -1)
        self.images = np.zeros(targets.shape)
        self.groups = np.zeros(targets.shape, np.int64)

    def put(self, group: int, part: int, sign: int = 1) -> None:
        """Add a group to a part, or take it out with `sign=-1`."""
        self.part[group] = part if sign > 0 else -1
        self.images[part] += sign * self.counts[group]
        self.groups[part] += sign * (self.counts[group] > 0)

    def growth(self, group: int) -> Floats:
        """By how much the deviation grows when the group joins each part: (P,)."""
        size = self.counts[group]
        change = ((2 * (self.images - self.targets) + size) * size * self.weights).sum(axis=1)
        growth: Floats = change + self.barred[group]
        return growth

    def improve(self, group: int) -> bool:
        """Move the group to its best part; False when it is there already."""
        here = int(self.part[group])
        self.put(group, here, sign=-1)
        covers = ((self.groups == 0) & (self.counts[group] > 0)).sum(axis=1)
        growth = self.growth(group) - MISSING * covers
        best = int(np.argmin(growth))
        there = best if growth[best] < growth[here] - 1e-12 else here
        self.put(group, there)
        return there != here


def tabulate(labels: Sequence[str], groups: Sequence[str]) -> tuple[Ints, Ints, list[str]]:
    """Count images: (G, C) per group and class, (n,) the row of each image, the class names."""
    classes, column = np.unique(np.asarray(labels), return_inverse=True)
    keys, row = np.unique(np.asarray(groups), return_inverse=True)
    counts = np.zeros((len(keys), len(classes)), np.int64)
    np.add.at(counts, (row, column), 1)
    return counts, row, classes.tolist()


def grouped_folds(labels: Sequence[str], groups: Sequence[str], folds: int, seed: int) -> Ints:
    """Deal images to folds, stratified by label, groups kept whole.

    Args:
        labels: n class names.
        groups: n group keys; images of one group go to one fold.
        folds: number of folds.
        seed: the same seed gives the same folds.

    Returns:
        (n,) int64 in [0, folds).

    Raises:
        InputError: a class has fewer groups than there are folds.
    """
    return deal_images(labels, groups, np.full(folds, 1 / folds), numpy_generator(seed, "folds"))


def deal_images(
    labels: Sequence[str], groups: Sequence[str], shares: Floats, rng: np.random.Generator
) -> Ints:
    """Deal images to parts with these shares: (n,) int64.

    Raises:
        InputError: a class has too few groups to stand in every part.
    """
    counts, row, classes = tabulate(labels, groups)
    check_enough(counts, classes, len(shares))
    part = deal(counts, shares[:, None] * counts.sum(axis=0), rng)
    for p in range(len(shares)):
        absent = np.flatnonzero(counts[part == p].sum(axis=0) == 0)
        if absent.size:
            raise InputError(
                f"Expected class {classes[absent[0]]!r} in each of {len(shares)} parts, but its "
                "images are tied to too few independent groups; add images or lower `split.folds`."
            )
    return part[row]


def check_enough(counts: Ints, classes: Sequence[str], parts: int) -> None:
    """Raise `InputError` when a class has fewer groups than there are parts."""
    for name, groups in zip(classes, (counts > 0).sum(axis=0), strict=True):
        if groups < parts:
            setting = "`split.folds` (--folds of a benchmark)"
            fewer = f", or lower {setting} to {groups}" if groups >= PARTS else ""
            raise InputError(
                f"Expected class {name!r} to have at least {parts} independent groups "
                f"(one for each of {parts} parts or folds), but it has {groups}; add images of "
                "other patients (to synthesise more, two must be in TRAIN) or leave the class out"
                f"{fewer}."
            )
