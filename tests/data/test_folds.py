"""Cross-validation: every image tested once a repeat, never beside relatives in training."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from made_up_sets import busi_like, conflicted, rows_of

from sonobalance.config import SplitSettings
from sonobalance.data.folds import fold_splits, repeated_folds, write_folds
from sonobalance.data.split import make_splits


def test_cross_validation_tests_every_image_once_and_never_relatives_of_training() -> None:
    manifest, group = busi_like(1, 0.2)
    splits = make_splits(manifest, group, SplitSettings(), 0)
    tested: list[str] = []
    for fold in range(5):
        one = fold_splits(splits, splits.fold, fold, 0.16, seed=3)
        assert {r.id for r in one.of("test")} == {k for k, f in splits.fold.items() if f == fold}
        assert abs(len(one.of("val")) - 0.16 * len(manifest)) <= 3
        tested += one.of("test").ids
    assert sorted(tested) == sorted(manifest.ids)


def test_excluded_images_stay_excluded_and_kept_ones_train_in_every_fold() -> None:
    manifest, group = conflicted()
    for rule, part in (("drop", "excluded"), ("keep", "train")):
        splits = make_splits(manifest, group, SplitSettings(label_conflicts=rule, folds=3), 0)
        for fold in range(3):
            assert fold_splits(splits, splits.fold, fold, 0.2, seed=0).part["b0"] == part


def test_repeats_are_dealt_anew_and_the_first_is_the_column() -> None:
    manifest, group = conflicted()
    splits = make_splits(manifest, group, SplitSettings(folds=3), 0)
    first, second, third = repeated_folds(splits, 3, seed=0)
    assert first == splits.fold
    assert second != third != first
    for fold in (second, third):
        assert {key for key, f in fold.items() if f == -1} == {"a0", "b0"}
        replace(splits, fold=fold)  # proves that no relatives are apart


def test_the_folds_of_every_repeat_are_written_and_keep_groups_whole(tmp_path: Path) -> None:
    manifest, group = busi_like(4, 0.2)
    splits = make_splits(manifest, group, SplitSettings(folds=3), seed=1)
    write_folds(tmp_path / "folds.csv", splits, 2, seed=1)
    rows = rows_of(tmp_path / "folds.csv")
    assert [row["id"] for row in rows] == list(manifest.ids)
    for number, fold in enumerate(repeated_folds(splits, 2, seed=1), start=1):
        assert {row["id"]: int(row[f"fold_{number}"]) for row in rows} == fold
        where = defaultdict(set)
        for row in rows:
            where[row["group"]].add(row[f"fold_{number}"])
        assert all(len(folds) == 1 for folds in where.values())
