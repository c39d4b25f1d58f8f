"""A leaky split: every arm on images with relatives in TRAIN, and on those without."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sonobalance.comparison.relatives import by_relatives, labels_of_relatives
from sonobalance.comparison.units import Fold
from sonobalance.config import EvaluationSettings
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.split import Splits
from sonobalance.evaluation.predictions import ArmPredictions
from sonobalance.evaluation.repeated import evaluate_repeated

Families = dict[str, tuple[list[str], str]]
CLASSES = ("benign", "malignant")
# group: labels of its images in TRAIN, label of its image in TEST
FAMILIES: Families = {
    "a": (["malignant"], "malignant"),
    "b": (["malignant", "malignant", "benign"], "malignant"),
    "c": (["malignant", "benign"], "malignant"),
    "d": (["benign"], "benign"),
    "e": ([], "benign"), "f": ([], "malignant"), "g": ([], "benign"), "h": ([], "malignant"),
}  # fmt: skip


def split_of(families: Families) -> Splits:
    rows = [
        (f"{group}{i}", label, group, part)
        for group, (train, test) in families.items()
        for i, (label, part) in enumerate([*((x, "train") for x in train), (test, "test")])
    ]
    records = tuple(Record(key, f"{key}.png", label, sha256=key) for key, label, *_ in rows)
    return Splits(
        Manifest(records, Path()), {r[0]: r[3] for r in rows}, {r[0]: r[2] for r in rows},
        {r[0]: 0 for r in rows}, leaky=True,
    )  # fmt: skip


def knowing_relatives(splits: Splits) -> ArmPredictions:
    """Right for every image with relatives, wrong for every other."""
    test = sorted(splits.of("test"), key=lambda r: r.id)
    target = np.array([CLASSES.index(r.label) for r in test])
    said = np.where([r.id in labels_of_relatives(splits) for r in test], target, 1 - target)
    groups = np.array([splits.group[r.id] for r in test])
    return ArmPredictions(tuple(r.id for r in test), groups, target, np.eye(2)[said])


def judged(*families: Families, of: Sequence[tuple[int, int]] = ((0, 0),)) -> dict[str, Any]:
    """What is said of folds with such families; `of` names their seeds and numbers."""
    folds = [Fold(*place, split_of(x)) for place, x in zip(of, families, strict=True)]
    evaluate = partial(
        evaluate_repeated, classes=CLASSES, settings=EvaluationSettings(resamples=100), seed=0,
        references=(), test_to_train=0.5,
    )  # fmt: skip
    blocks = {(fold.seed, fold.number): knowing_relatives(fold.splits) for fold in folds}
    return by_relatives({"x": blocks}, folds, evaluate)


def test_the_most_frequent_labels_of_relatives_are_found():
    labels = {key[0]: found for key, found in labels_of_relatives(split_of(FAMILIES)).items()}
    assert labels == {
        "a": {"malignant"}, "b": {"malignant"}, "c": {"benign", "malignant"}, "d": {"benign"},
    }  # fmt: skip


def test_both_kinds_of_images_are_scored_apart():
    found = judged(FAMILIES)
    assert found["share"] == 0.5
    assert found["copied"] == 0.875  # of two labels that are equally frequent one is right
    assert found["related"]["n"] == found["unrelated"]["n"] == 4
    assert found["related"]["arms"]["x"]["accuracy"]["value"] == 1
    assert found["unrelated"]["arms"]["x"]["accuracy"]["value"] == 0


@pytest.mark.parametrize("kept", ["abcd", "efgh"])
def test_where_all_or_none_have_relatives_there_is_one_table(kept):
    found = judged(chosen(kept))
    empty, full = ("unrelated", "related") if kept == "abcd" else ("related", "unrelated")
    assert found[empty] is None
    assert found[full]["n"] == 4
    assert (found["copied"] is None) == (kept == "efgh")


def test_a_fold_without_one_kind_is_left_out_of_its_table():
    found = judged(chosen("abcd"), chosen("efgh"), of=((0, 0), (0, 1)))
    assert found["share"] == 0.5
    assert found["related"]["arms"]["x"]["accuracy"]["value"] == 1
    assert found["unrelated"]["arms"]["x"]["accuracy"]["value"] == 0


def test_an_image_may_be_of_either_kind_with_another_seed():
    lonely = {key: ([], test) for key, (_, test) in FAMILIES.items()}
    renamed = {key: (["benign"] * 3, test) for key, (_, test) in FAMILIES.items()}
    found = judged(lonely, renamed, of=((0, 0), (1, 0)))
    assert found["share"] == 0.5
    assert found["copied"] == 0.375


def test_a_class_that_has_no_relatives_has_no_numbers_there():
    found = judged(chosen("ab") | {"d": ([], "benign")})
    assert found["related"]["n_by_class"] == {"benign": 0, "malignant": 2}
    assert found["related"]["arms"]["x"]["recall_benign"]["value"] is None


def chosen(names: str) -> Families:
    return {key: FAMILIES[key] for key in names}
