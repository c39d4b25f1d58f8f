"""Parts: relatives stay together, classes keep their shares, the same seed gives the same."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from made_up_sets import BUSI, SHARES, alone, busi_like, manifest_of
from sklearn.model_selection import StratifiedGroupKFold

from sonobalance.config import SplitSettings
from sonobalance.data.dealing import deal_images
from sonobalance.data.manifest import Manifest
from sonobalance.data.relatives import conflicting, independent_groups
from sonobalance.data.split import grouped_folds, make_splits
from sonobalance.errors import InputError, LeakError, SettingsError
from sonobalance.layers import parse


@st.composite
def families(draw: st.DrawFn) -> tuple[Manifest, dict[str, str]]:
    """Images with random near-duplicate groups, patients and repeated bytes, across classes too."""
    n = draw(st.integers(20, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    joined = draw(st.floats(0, 0.5))  # how many images share a group, a patient, a file

    def keys(most: int) -> list[str]:
        drawn = rng.integers(most, size=n)
        return [str(k) if rng.random() < joined else "" for k in drawn]

    odd = draw(st.sampled_from([0.0, 0.05]))  # how many images lack a label or contradict another
    groups = [f"g{key}" if key else f"alone{i}" for i, key in enumerate(keys(n // 3))]
    labels = [
        str(rng.choice(["", "a", "b"])) if rng.random() < odd else "aab"[sum(key.encode()) % 3]
        for key in groups
    ]
    rows = [(f"i{i}", label) for i, label in enumerate(labels)]
    manifest = manifest_of(*rows, patient=keys(n // 2), sha256=keys(2 * n))
    return manifest, {f"i{i}": key for i, key in enumerate(groups)}


@settings(max_examples=150, deadline=None)
@given(families(), st.integers(2, 4), st.integers(0, 3), st.sampled_from(["drop", "keep"]))
def test_no_relatives_are_ever_apart(
    family: tuple[Manifest, dict[str, str]], folds: int, seed: int, conflicts: str
) -> None:
    manifest, group = family
    try:
        splits = make_splits(
            manifest, group, SplitSettings(folds=folds, label_conflicts=conflicts), seed
        )
    except InputError:
        event("refused")
        return
    for place in (splits.part, splits.fold):
        seen: dict[tuple[str, str], set[object]] = defaultdict(set)
        for r in manifest:
            if splits.part[r.id] == "excluded":
                continue
            seen["group", group[r.id]].add(place[r.id])
            seen["patient", r.patient or r.id].add(place[r.id])
            seen["bytes", r.sha256 or r.id].add(place[r.id])
        assert all(len(places) == 1 for places in seen.values())
    assert all(splits.part[r.id] == "excluded" for r in manifest if not r.label)
    tested = {r.id for r in splits.of("test")} | {r.id for r in splits.of("val")}
    assert not tested & conflicting(manifest, group)
    assert {splits.fold[key] for key in tested} <= set(range(folds))
    for part in ("train", "val", "test"):
        assert splits.of(part).classes == manifest.classes


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.integers(1, 6), min_size=5, max_size=30), min_size=2, max_size=4),
    st.integers(0, 5),
)
def test_enough_groups_always_suffice_and_shares_are_met(sizes: list[list[int]], seed: int) -> None:
    rows = [
        (f"{c}-{g}-{i}", f"class{c}")
        for c, groups in enumerate(sizes)
        for g, size in enumerate(groups)
        for i in range(size)
    ]
    manifest = manifest_of(*rows)
    group = {key: key.rsplit("-", 1)[0] for key, _ in rows}
    splits = make_splits(manifest, group, SplitSettings(), seed)
    counts = splits.counts()
    for c, groups in enumerate(sizes):
        total, largest = sum(groups), max(groups)
        for part, share in SHARES.items():
            got = counts[part][f"class{c}"]
            assert got > 0
            assert abs(got - share * total) <= largest + 1
        for fold in range(5):
            in_fold = sum(splits.fold[r.id] == fold for r in manifest if r.label == f"class{c}")
            assert in_fold > 0
            assert abs(in_fold - total / 5) <= largest + 1


@pytest.mark.parametrize("scale", [1.0, 0.15])
def test_class_shares_on_groups_like_those_of_busi(scale: float) -> None:
    for seed in range(3):
        manifest, group = busi_like(seed, scale)
        counts = make_splits(manifest, group, SplitSettings(), seed).counts()
        for part, share in SHARES.items():
            for label, total in manifest.counts.items():
                assert abs(counts[part][label] - share * total) <= 1


def test_folds_are_at_least_as_even_as_those_of_scikit_learn() -> None:
    for seed in range(5):
        manifest, group = busi_like(seed, 0.3)
        labels = np.array([r.label for r in manifest])
        groups = np.array([group[r.id] for r in manifest])
        ours = grouped_folds(labels.tolist(), groups.tolist(), 5, seed)
        theirs = np.zeros(len(labels), int)
        cut = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for i, (_, test) in enumerate(cut.split(labels, labels, groups)):
            theirs[test] = i

        def unevenness(fold: np.ndarray, labels: np.ndarray = labels) -> int:
            table = [[np.sum((fold == k) & (labels == c)) for k in range(5)] for c in BUSI]
            return max(int(max(row) - min(row)) for row in table)

        assert unevenness(ours) <= max(1, unevenness(theirs))


def test_same_seed_same_parts_and_another_seed_others() -> None:
    manifest, group = busi_like(0, 0.2)
    first, again, other = (make_splits(manifest, group, SplitSettings(), s) for s in (1, 1, 2))
    assert first == again
    assert first.part != other.part
    assert first.fold != other.fold


def test_a_class_with_too_few_groups_is_named_with_its_count() -> None:
    manifest = manifest_of(*[(f"a{i}", "a") for i in range(9)], *[(f"b{i}", "b") for i in range(6)])
    group = alone(manifest) | {f"b{i}": f"b{i % 2}" for i in range(6)}
    with pytest.raises(InputError, match=r"'b' to have at least 3 .* it has 2.*the class out\.$"):
        make_splits(manifest, group, SplitSettings(folds=2), 0)
    group |= {f"b{i}": f"b{i % 3}" for i in range(6)}
    with pytest.raises(
        InputError, match=r"at least 5 .* it has 3.*lower `split\.folds` \(.*\) to 3\.$"
    ):
        make_splits(manifest, group, SplitSettings(), 0)
    assert len(make_splits(manifest, group, SplitSettings(folds=3), 0).of("train")) > 0


def test_one_class_alone_is_refused() -> None:
    manifest = manifest_of(*[(f"a{i}", "a") for i in range(9)])
    with pytest.raises(InputError, match="at least two classes"):
        make_splits(manifest, alone(manifest), SplitSettings(), 0)


def test_relatives_of_relatives_are_one_group() -> None:
    manifest = manifest_of(
        *[(key, "a") for key in "pqrst"],
        patient=["1", "1", "", "", "1"], sha256=["", "x", "x", "", ""],
    )  # fmt: skip
    whole = independent_groups(manifest, {"p": "g1", "q": "g2", "r": "g3", "s": "g3", "t": "g4"})
    assert set(whole.values()) == {"g1"}  # p ~ q (patient) ~ r (bytes) ~ s (group), t (patient)


def test_frames_of_one_file_are_different_content() -> None:
    manifest = manifest_of(("p", "a"), ("q", "a"), sha256=["x", "x"])
    frames = replace(manifest, records=tuple(replace(r, frame=i) for i, r in enumerate(manifest)))
    assert len(set(independent_groups(manifest, alone(manifest)).values())) == 1
    assert len(set(independent_groups(frames, alone(frames)).values())) == 2


def test_leaky_split_tears_groups_apart_and_only_it_may() -> None:
    manifest, group = busi_like(0, 0.3)
    splits = make_splits(manifest, group, SplitSettings(leaky=True), 0)
    assert splits.leaky
    with pytest.raises(LeakError, match="group"):
        replace(splits, leaky=False)
    assert splits.counts()["test"] == {"benign": 26, "malignant": 13, "normal": 8}


def test_synthetic_images_are_not_split() -> None:
    manifest, group = busi_like(0, 0.1)
    forged = replace(manifest.records[0], origin="synthetic")
    mixed = replace(manifest, records=(forged, *manifest.records[1:]))
    with pytest.raises(InputError, match="synthetic"):
        make_splits(mixed, group, SplitSettings(), 0)


def test_dealing_keeps_a_rare_class_in_every_part() -> None:
    labels = ["common"] * 200 + ["rare"] * 3
    part = deal_images(
        labels, [str(i) for i in range(203)], np.array([0.64, 0.16, 0.2]), np.random.default_rng(0)
    )
    assert sorted(part[200:]) == [0, 1, 2]


@pytest.mark.parametrize(
    "values",
    [
        {"test_fraction": 0.6, "val_fraction": 0.6}, {"label_conflicts": "relabel"},
        {"labels_csv": "x.csv"}, {"folds": 1},
    ],
)  # fmt: skip
def test_contradictory_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match="split"):
        parse({"split": values})
