from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonobalance.data.manifest import Manifest, Record, read_manifest
from sonobalance.errors import InputError

PRINTABLE = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=8)
FILE = PRINTABLE.filter(lambda text: "|" not in text)
RECORD = st.builds(
    Record, id=PRINTABLE, path=PRINTABLE, label=st.one_of(st.just(""), PRINTABLE),
    patient=st.one_of(st.just(""), PRINTABLE), masks=st.lists(FILE, max_size=3).map(tuple),
    frame=st.integers(0, 999), source=st.just("busi"), sha256=st.just("ab" * 32),
    width=st.integers(0, 9999), height=st.integers(0, 9999),
    origin=st.sampled_from(["real", "synthetic"]),
)  # fmt: skip


def three() -> Manifest:
    rows = (("p", "b"), ("q", "a"), ("r", ""))
    return Manifest(tuple(Record(key, f"{key}.png", label) for key, label in rows), Path("root"))


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORD, max_size=8, unique_by=lambda r: r.id))
def test_written_manifest_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, records: list[Record]
) -> None:
    path = tmp_path_factory.mktemp("manifest") / "manifest.csv"
    manifest = Manifest(tuple(records), Path("root"))
    manifest.write(path)
    first = path.read_bytes()
    again = read_manifest(path, Path("root"))
    assert again == manifest
    again.write(path)
    assert path.read_bytes() == first


def test_classes_are_alphabetical_and_the_unlabelled_count_for_none() -> None:
    manifest = three()
    assert manifest.classes == ("a", "b")
    assert manifest.counts == {"a": 1, "b": 1}
    assert manifest.ids == ("p", "q", "r")


def test_selection_keeps_the_order_of_the_manifest() -> None:
    assert three().select(["r", "p", "unknown"]).ids == ("p", "r")


def test_files_start_from_the_root() -> None:
    record = replace(three().records[0], masks=("m/1.png", "m/2.png"))
    manifest = Manifest((record,), Path("root"))
    assert manifest.file(record) == Path("root/p.png")
    assert manifest.mask_files(record) == [Path("root/m/1.png"), Path("root/m/2.png")]


def test_a_repeated_id_is_named() -> None:
    manifest = three()
    with pytest.raises(InputError, match="'q'"):
        replace(manifest, records=(*manifest.records, manifest.records[1]))


def test_a_missing_manifest_says_which_stage_makes_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `index` first"):
        read_manifest(tmp_path / "manifest.csv", tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    three().write(path)
    path.write_text(path.read_text().replace("sha256", "digest", 1))
    with pytest.raises(InputError, match="sha256"):
        read_manifest(path, tmp_path)


def test_a_manifest_from_before_scanners_were_known_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    three().write(path)
    rows = [line.rpartition(",")[0] for line in path.read_text().splitlines()]
    path.write_text("\n".join(rows) + "\n")
    assert read_manifest(path, tmp_path).records == three().records


@pytest.mark.parametrize(("cell", "damage"), [("real", "Real"), ("real", "0"), (",0,", ",x,")])
def test_a_damaged_row_is_refused_and_never_read_as_real(
    tmp_path: Path, cell: str, damage: str
) -> None:
    path = tmp_path / "manifest.csv"
    three().write(path)
    head, row, *rest = path.read_text().splitlines()
    path.write_text("\n".join([head, row.replace(cell, damage, 1), *rest]) + "\n")
    with pytest.raises(InputError, match="line 2"):
        read_manifest(path, tmp_path)


def test_a_truncated_row_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.csv"
    three().write(path)
    path.write_text(path.read_text()[:-25])
    with pytest.raises(InputError, match="damaged"):
        read_manifest(path, tmp_path)
