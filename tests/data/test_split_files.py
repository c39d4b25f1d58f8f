"""`splits.csv` is read back equal, and refused when a relative crosses parts."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_sets import busi_like, manifest_of, rows_of

from sonobalance.config import SplitSettings
from sonobalance.data.manifest import Manifest
from sonobalance.data.split import Splits, make_splits, read_splits
from sonobalance.errors import InputError, LeakError

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
