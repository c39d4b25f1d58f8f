import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from sonobalance.config import SplitSettings
from sonobalance.data.dealing import deal_images
from sonobalance.data.folds import fold_splits, repeated_folds
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.relatives import conflicting, independent_groups
from sonobalance.data.split import Splits, grouped_folds, make_splits, read_splits
from sonobalance.errors import InputError, LeakError, SettingsError
from sonobalance.layers import parse

SHARES = {"train": 0.64, "val": 0.16, "test": 0.2}
BUSI = {"benign": 437, "malignant": 210, "normal": 133}
BUSBRA = Path(__file__).parents[3] / "shared" / "data" / "BUSBRA"


def manifest_of(*rows: tuple[str, str], **columns: list[str]) -> Manifest:
    """Records from (id, label) rows and further columns."""
    records = []
    for i, (key, label) in enumerate(rows):
        more = {name: values[i] for name, values in columns.items()}
        records.append(Record(key, f"{label}/{key}.png", label, **more))  # type: ignore[arg-type]
    return Manifest(tuple(records), Path("images"))


def busi_like(seed: int, scale: float = 1.0) -> tuple[Manifest, dict[str, str]]:
    """Class counts of BUSI; a quarter of the draws is a group of 2 to 4 images of one class."""
    rng = np.random.default_rng(seed)
    rows, group = [], {}
    for label, total in BUSI.items():
        sizes: list[int] = []
        while sum(sizes) < int(total * scale):
            size = 1 if rng.random() < 0.75 else int(rng.integers(2, 5))
            sizes.append(min(size, int(total * scale) - sum(sizes)))
        keys = [f"{label}{g}" for g, size in enumerate(sizes) for _ in range(size)]
        rows += [(f"{label}-{i}", label) for i in range(len(keys))]
        group |= {f"{label}-{i}": key for i, key in enumerate(keys)}
    return manifest_of(*rows), group


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def alone(manifest: Manifest) -> dict[str, str]:
    return {r.id: r.id for r in manifest}


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
    with pytest.raises(InputError, match=r"'b' to have at least 3 .* it has 2"):
        make_splits(manifest, group, SplitSettings(folds=2), 0)


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


def conflicted() -> tuple[Manifest, dict[str, str]]:
    """Ten images per class; a0 and b0 are near-duplicates, a0 and a1 of one patient."""
    rows = [(f"{label}{i}", label) for label in "ab" for i in range(10)]
    patients = ["P" if key in ("a0", "a1") else "" for key, _ in rows]
    manifest = manifest_of(*rows, patient=patients)
    return manifest, alone(manifest) | {"b0": "a0"}


def test_dropped_conflicts_are_in_no_part_but_their_patient_stays() -> None:
    manifest, group = conflicted()
    splits = make_splits(manifest, group, SplitSettings(), 0)
    assert {r.id for r in splits.of("excluded")} == {"a0", "b0"}
    assert splits.fold["a0"] == splits.fold["b0"] == -1
    assert splits.part["a1"] != "excluded"


def test_kept_conflicts_train_with_their_relatives_and_are_never_tested() -> None:
    manifest, group = conflicted()
    splits = make_splits(manifest, group, SplitSettings(label_conflicts="keep"), 0)
    assert {splits.part[key] for key in ("a0", "a1", "b0")} == {"train"}
    assert {splits.fold[key] for key in ("a0", "a1", "b0")} == {-1}


@pytest.mark.parametrize(
    ("patients", "digests", "conflict"),
    [
        (("", ""), ("", ""), True), (("1", "2"), ("", ""), True), (("1", ""), ("", ""), True),
        (("1", "1"), ("", ""), False), (("1", "1"), ("x", "x"), True),
        (("1", "1"), ("x", "y"), False),
    ],
)  # fmt: skip
def test_a_patient_with_lesions_of_two_classes_is_no_conflict(
    patients: tuple[str, str], digests: tuple[str, str], conflict: bool
) -> None:
    manifest = manifest_of(("p", "a"), ("q", "b"), patient=[*patients], sha256=[*digests])
    assert conflicting(manifest, {"p": "g", "q": "g"}) == ({"p", "q"} if conflict else set())


def test_relabelling_settles_a_conflict_and_is_read_back(tmp_path: Path) -> None:
    manifest, group = conflicted()
    (tmp_path / "labels.csv").write_text("id,label\nb0,a\n")
    chosen = SplitSettings(label_conflicts="relabel", labels_csv=tmp_path / "labels.csv")
    splits = make_splits(manifest, group, chosen, 0)
    assert not len(splits.of("excluded"))
    assert splits.manifest.counts == {"a": 11, "b": 9}
    splits.write(tmp_path / "splits.csv")
    assert read_splits(tmp_path / "splits.csv", manifest) == splits


@pytest.mark.parametrize(
    ("text", "said"),
    [("id,label\nzz,a\n", "zz"), ("id,label\nb0,c\n", "'c'"), ("id\nb0\n", "'label'"), ("", "CSV")],
)
def test_unusable_relabelling_is_refused(tmp_path: Path, text: str, said: str) -> None:
    manifest, group = conflicted()
    (tmp_path / "labels.csv").write_text(text)
    chosen = SplitSettings(label_conflicts="relabel", labels_csv=tmp_path / "labels.csv")
    with pytest.raises(InputError, match=said):
        make_splits(manifest, group, chosen, 0)


def test_a_class_lost_to_conflicts_is_named() -> None:
    rows = [(f"{label}{i}", label) for label in "ab" for i in range(10)]
    manifest = manifest_of(*rows, ("c0", "c"))
    with pytest.raises(InputError, match="'c'"):
        make_splits(manifest, alone(manifest) | {"c0": "a0"}, SplitSettings(), 0)


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


PRINTABLE = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(PRINTABLE, PRINTABLE), min_size=1, unique_by=lambda r: r[0]), st.data())
def test_written_splits_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], data: st.DataObject
) -> None:
    manifest = manifest_of(*rows)
    part = {
        key: data.draw(st.sampled_from(["train", "val", "test", "excluded"])) for key, _ in rows
    }
    group = {key: f"{key}{label}{i}" for i, (key, label) in enumerate(rows)}
    fold = {key: data.draw(st.integers(-1, 9)) for key, _ in rows}
    splits = Splits(manifest, part, group, fold)
    path = tmp_path_factory.mktemp("written") / "splits.csv"
    splits.write(path)
    assert read_splits(path, manifest) == splits


def written(tmp_path: Path) -> tuple[Path, Manifest]:
    manifest, group = busi_like(2, 0.1)
    path = tmp_path / "splits.csv"
    make_splits(manifest, group, SplitSettings(), 0).write(path)
    return path, manifest


def edit(file: Path, /, **changes: dict[str, str]) -> None:
    """Rewrite cells: column → {id: value}."""
    rows = rows_of(file)
    for column, cells in changes.items():
        for row in rows:
            row[column] = cells.get(row["id"], row[column])
    with file.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_a_group_moved_across_parts_is_refused(tmp_path: Path) -> None:
    path, manifest = written(tmp_path)
    splits = read_splits(path, manifest)
    key = next(k for k in manifest.ids if list(splits.group.values()).count(splits.group[k]) > 1)
    edit(path, part={key: "test" if splits.part[key] != "test" else "train"})
    with pytest.raises(LeakError, match=key.rsplit("-", 1)[0]):
        read_splits(path, manifest)


def test_a_group_moved_across_folds_is_refused(tmp_path: Path) -> None:
    path, manifest = written(tmp_path)
    splits = read_splits(path, manifest)
    key = next(k for k in manifest.ids if list(splits.group.values()).count(splits.group[k]) > 1)
    edit(path, fold={key: str(splits.fold[key] + 1)})
    with pytest.raises(LeakError, match="fold"):
        read_splits(path, manifest)


def test_a_patient_or_file_in_two_parts_is_refused_whatever_the_groups_say(tmp_path: Path) -> None:
    path, manifest = written(tmp_path)
    splits = read_splits(path, manifest)
    train, test = splits.of("train").ids[0], splits.of("test").ids[0]
    for change in ({"patient": "same"}, {"sha256": "same"}):
        records = tuple(replace(r, **change) if r.id in (train, test) else r for r in manifest)
        with pytest.raises(LeakError, match="same"):
            read_splits(path, replace(manifest, records=records))


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_synthetic_image_in_val_or_test_is_refused(tmp_path: Path, part: str) -> None:
    path, manifest = written(tmp_path)
    key = read_splits(path, manifest).of(part).ids[0]  # type: ignore[arg-type]
    records = tuple(replace(r, origin="synthetic") if r.id == key else r for r in manifest)
    with pytest.raises(LeakError, match="synthetic"):
        read_splits(path, replace(manifest, records=records))
    with pytest.raises(LeakError, match="synthetic"):
        read_splits(path, replace(manifest, records=records), leaky=True)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("part", "holdout", "holdout"), ("part", "", "part"), ("fold", "two", "two"),
        ("id", "stranger", "stranger"), ("path", "elsewhere.png", "elsewhere"),
    ],
)  # fmt: skip
def test_an_odd_cell_is_refused(tmp_path: Path, column: str, value: str, said: str) -> None:
    path, manifest = written(tmp_path)
    edit(path, **{column: {manifest.ids[3]: value}})
    with pytest.raises(InputError, match=said):
        read_splits(path, manifest)


def test_a_missing_or_repeated_image_is_refused(tmp_path: Path) -> None:
    path, manifest = written(tmp_path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    with pytest.raises(InputError, match="every image"):
        read_splits(path, manifest)
    path.write_text("".join([*lines, lines[-1]]))
    with pytest.raises(InputError, match="once"):
        read_splits(path, manifest)


def test_a_missing_file_or_column_is_refused(tmp_path: Path) -> None:
    path, manifest = written(tmp_path)
    with pytest.raises(InputError, match="run `split` first"):
        read_splits(tmp_path / "none.csv", manifest)
    path.write_text(path.read_text().replace(",fold\n", ",other\n", 1))
    with pytest.raises(InputError, match="'fold'"):
        read_splits(path, manifest)


def busbra_like(tmp_path: Path) -> tuple[Manifest, Path]:
    """Thirty patients with two images each; VAL is marked per image, as BUS-BRA does it."""
    rng = np.random.default_rng(0)
    rows, patients, lines = [], [], ["ID,Pathology,kFold,valid_1,valid_2,valid_3"]
    for patient in range(30):
        fold, label = patient % 3 + 1, "malignant" if patient % 2 else "benign"
        for side in "lr":
            key = f"bus_{patient:04d}-{side}"
            marks = ["NaN" if k == fold else str(int(rng.random() < 0.7)) for k in (1, 2, 3)]
            rows.append((key, label))
            patients.append(str(patient))
            lines.append(",".join([key, label, str(fold), *marks]))
    (tmp_path / "folds.csv").write_text("\n".join(lines) + "\n")
    return manifest_of(*rows, patient=patients), tmp_path / "folds.csv"


@pytest.mark.parametrize(("chosen", "tested"), [("", 1), ("2", 2)])
def test_official_folds_are_used_and_torn_patients_mended(
    tmp_path: Path, chosen: str, tested: int
) -> None:
    manifest, path = busbra_like(tmp_path)
    official = {row["ID"]: row for row in rows_of(path)}
    splits = make_splits(
        manifest, alone(manifest), SplitSettings(official_csv=path, official_test_fold=chosen), 0
    )
    assert all(splits.fold[key] == int(row["kFold"]) - 1 for key, row in official.items())
    assert {r.id for r in splits.of("test")} == {
        key for key, row in official.items() if int(row["kFold"]) == tested
    }
    wanted = {key for key, row in official.items() if row[f"valid_{tested}"] == "0"}
    got = {r.id for r in splits.of("val")}
    assert abs(len(got) - len(wanted)) <= 2
    for r in manifest:  # a patient whose images all stand in one official part stays there
        both = {official[f"{r.id[:-1]}{side}"][f"valid_{tested}"] for side in "lr"}
        if both == {"0"}:
            assert splits.part[r.id] == "val"
        if both == {"1"}:
            assert splits.part[r.id] == "train"


def test_official_folds_without_validation_column_get_a_dealt_one(tmp_path: Path) -> None:
    manifest, path = busbra_like(tmp_path)
    chosen = SplitSettings(official_csv=path, official_val_column="")
    splits = make_splits(manifest, alone(manifest), chosen, 0)
    assert len(splits.of("test")) == 20
    assert 4 <= len(splits.of("val")) <= 8


def test_a_group_across_official_folds_goes_to_one_of_them(tmp_path: Path) -> None:
    manifest, path = busbra_like(tmp_path)
    group = alone(manifest) | {"bus_0000-l": "x", "bus_0002-l": "x"}
    splits = make_splits(manifest, group, SplitSettings(official_csv=path), 0)
    ends = {splits.fold[f"bus_{p}-{side}"] for p in ("0000", "0002") for side in "lr"}
    assert ends in ({0}, {2})


def test_leaky_official_parts_stay_as_published(tmp_path: Path) -> None:
    manifest, path = busbra_like(tmp_path)
    splits = make_splits(manifest, alone(manifest), SplitSettings(official_csv=path, leaky=True), 0)
    rows = rows_of(path)
    assert {r.id for r in splits.of("val")} == {row["ID"] for row in rows if row["valid_1"] == "0"}


def test_official_part_column_by_file_name(tmp_path: Path) -> None:
    manifest, group = busi_like(0, 0.1)
    parts = ["train", "Training", "valid", "test"]
    lines = [f"{Path(r.path).name},{parts[i % 4]}" for i, r in enumerate(manifest)]
    (tmp_path / "parts.csv").write_text("\n".join(["file,use", *lines]) + "\n")
    chosen = SplitSettings(
        official_csv=tmp_path / "parts.csv", official_id_column="file", official_part_column="use",
        folds=3,
    )  # fmt: skip
    splits = make_splits(manifest, alone(manifest), chosen, 0)
    expected = ["train", "train", "val", "test"]
    assert [splits.part[key] for key in manifest.ids] == [
        expected[i % 4] for i in range(len(manifest))
    ]
    make_splits(manifest, group, chosen, 0)  # torn groups are mended, not refused


def test_unusable_official_files_are_refused(tmp_path: Path) -> None:
    manifest, path = busbra_like(tmp_path)
    whole = path.read_text()
    cases = {
        "1 are missing there, first 'bus_0029-r'": "\n".join(whole.splitlines()[:-1]),
        "'kFold'": whole.replace("kFold", "fold"),
        "'ID'": whole.replace("ID,", "Image,"),
        "among them '9'": whole,
    }
    for said, text in cases.items():
        path.write_text(text)
        chosen = SplitSettings(official_csv=path, official_test_fold="9" if "'9'" in said else "")
        with pytest.raises(InputError, match=said):
            make_splits(manifest, alone(manifest), chosen, 0)
    with pytest.raises(InputError, match="there is none"):
        make_splits(manifest, alone(manifest), SplitSettings(official_csv=tmp_path / "no.csv"), 0)


@pytest.mark.shared
@pytest.mark.parametrize("folds", [5, 10])
def test_fold_files_of_bus_bra_work_as_they_are(folds: int) -> None:
    if not BUSBRA.is_dir():
        pytest.skip("needs BUS-BRA beside the checkout")
    rows = rows_of(BUSBRA / "bus_data.csv")
    manifest = manifest_of(
        *[(row["ID"], row["Pathology"]) for row in rows], patient=[row["Case"] for row in rows]
    )
    chosen = SplitSettings(official_csv=BUSBRA / f"{folds}-fold-cv.csv")
    splits = make_splits(manifest, alone(manifest), chosen, 0)
    official = {row["ID"]: row for row in rows_of(BUSBRA / f"{folds}-fold-cv.csv")}
    assert all(splits.fold[key] == int(row["kFold"]) - 1 for key, row in official.items())
    marked = sum(row["valid_1"] == "0" for row in official.values())
    assert abs(len(splits.of("val")) - marked) <= 2


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
