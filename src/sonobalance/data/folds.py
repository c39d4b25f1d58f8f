"""Cross-validation over a split: each fold tested once, and again with other folds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sonobalance.data.dealing import deal_images, grouped_folds
from sonobalance.data.official import Part
from sonobalance.data.split import Splits
from sonobalance.files import write_csv
from sonobalance.randomness import derive, numpy_generator


def fold_splits(
    splits: Splits, fold: Mapping[str, int], test_fold: int, val_fraction: float, seed: int
) -> Splits:
    """The same images with one fold as TEST and a VAL dealt from the others.

    Args:
        splits: parts whose excluded images stay excluded.
        fold: image id → fold, as `splits.fold` or of `repeated_folds`; images in fold -1 go to
            TRAIN unless they are excluded.
        test_fold: the fold that becomes TEST.
        val_fraction: share of all images in VAL.
        seed: the same seed gives the same parts.

    Raises:
        InputError: a class has too few groups to stand in TRAIN and VAL.
    """
    used = [r for r in splits.manifest if splits.part[r.id] != "excluded"]
    rest = [r for r in used if fold[r.id] not in (test_fold, -1)]
    share = min(val_fraction * len(used) / max(len(rest), 1), 0.9)
    together = [r.id if splits.leaky else splits.group[r.id] for r in rest]
    rng = numpy_generator(seed, "fold", test_fold)
    is_val = deal_images([r.label for r in rest], together, np.array([1 - share, share]), rng)
    part: dict[str, Part] = dict.fromkeys(splits.manifest.ids, "excluded")
    part |= {r.id: "test" if fold[r.id] == test_fold else "train" for r in used}
    part |= {r.id: "val" for r, val in zip(rest, is_val, strict=True) if val}
    return Splits(splits.manifest, part, splits.group, fold, splits.leaky)


def repeated_folds(splits: Splits, repeats: int, seed: int) -> list[dict[str, int]]:
    """Image id → fold, once per repeat: first the column of the splits, then dealt anew.

    Images outside every fold (-1) stay outside.
    """
    dealt = [r for r in splits.manifest if splits.fold[r.id] >= 0]
    labels = [r.label for r in dealt]
    together = [r.id if splits.leaky else splits.group[r.id] for r in dealt]
    count = max(splits.fold.values(), default=-1) + 1
    out = [dict(splits.fold)]
    for repeat in range(1, repeats):
        folds = grouped_folds(labels, together, count, derive(seed, "repeat", repeat))
        anew = {r.id: int(f) for r, f in zip(dealt, folds, strict=True)}
        out.append(dict.fromkeys(splits.manifest.ids, -1) | anew)
    return out


def write_folds(path: Path, splits: Splits, repeats: int, seed: int) -> None:
    """Write `folds.csv`: id, path, group, and the test fold of each repeat (`fold_1`, ...)."""
    folds = repeated_folds(splits, repeats, seed)
    header = ("id", "path", "group", *(f"fold_{i + 1}" for i in range(repeats)))
    write_csv(path, header, [
        (r.id, r.path, splits.group[r.id], *(fold[r.id] for fold in folds))
        for r in splits.manifest
    ])  # fmt: skip
