"""A leaky split: every arm on images with relatives in TRAIN, and on those without."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from sonobalance.comparison.relatives import by_relatives, copied_labels
from sonobalance.comparison.units import Fold
from sonobalance.config import EvaluationSettings
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.split import Splits
from sonobalance.evaluation.predictions import ArmPredictions
from sonobalance.evaluation.repeated import evaluate_repeated

CLASSES = ("benign", "malignant")
# group: labels of its images in TRAIN, label of its image in TEST
FAMILIES = {
    "a": (["malignant"], "malignant"),
    "b": (["malignant", "malignant", "benign"], "malignant"),
    "c": (["malignant", "benign"], "malignant"),
    "d": (["benign"], "benign"),
    "e": ([], "benign"), "f": ([], "malignant"), "g": ([], "benign"), "h": ([], "malignant"),
}  # fmt: skip


def split_of(families: dict[str, tuple[list[str], str]]) -> Splits:
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
    said = np.where([r.id in copied_labels(splits) for r in test], target, 1 - target)
    groups = np.array([splits.group[r.id] for r in test])
    return ArmPredictions(tuple(r.id for r in test), groups, target, np.eye(2)[said])


def judged(families: dict[str, tuple[list[str], str]]) -> dict:
    splits = split_of(families)
    evaluate = partial(
        evaluate_repeated, classes=CLASSES, settings=EvaluationSettings(resamples=100), seed=0,
        references=(), test_to_train=0.5,
    )  # fmt: skip
    return by_relatives({"x": {(0, 0): knowing_relatives(splits)}}, [Fold(0, 0, splits)], evaluate)


def test_most_of_the_relatives_decide_and_of_equals_the_first():
    labels = {key[0]: label for key, label in copied_labels(split_of(FAMILIES)).items()}
    assert labels == {"a": "malignant", "b": "malignant", "c": "benign", "d": "benign"}


def test_both_kinds_of_images_are_scored_apart():
    found = judged(FAMILIES)
    assert found["share"] == 0.5
    assert found["copied"] == 0.75
    assert found["related"]["n"] == found["unrelated"]["n"] == 4
    assert found["related"]["arms"]["x"]["accuracy"]["value"] == 1
    assert found["unrelated"]["arms"]["x"]["accuracy"]["value"] == 0


@pytest.mark.parametrize("kept", ["abcd", "efgh"])
def test_where_all_or_none_have_relatives_there_is_one_table(kept):
    found = judged({key: FAMILIES[key] for key in kept})
    empty, full = ("unrelated", "related") if kept == "abcd" else ("related", "unrelated")
    assert found[empty] is None
    assert found[full]["n"] == 4
    assert (found["copied"] is None) == (kept == "efgh")
