"""Index tables become the manifest that a hand count gives; odd rows are listed."""

from collections import Counter
from itertools import chain

import pytest
from made_up_folders import busi, draw, index, refused, write_index


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_index(tmp_path, delimiter):
    rows = []
    for i in range(6):
        draw(tmp_path / "pictures" / f"{i}.png")
        draw(tmp_path / "masks" / f"{i}.png", value=255)
        label = ("cyst", "solid")[i % 2]
        rows.append((f"pictures/{i}.png", label, f"P{i}", f"masks/{i}.png"))
    table = write_index(tmp_path, rows, delimiter=delimiter)
    manifest, skipped = index(tmp_path)
    assert not skipped
    assert manifest.counts == {"cyst": 3, "solid": 3}
    assert manifest.records[1].patient == "P1"
    assert manifest.records[1].masks == ("masks/1.png",)
    assert {r.source for r in manifest} == {"csv"}
    assert index(table) == (manifest, skipped)


def test_csv_rows_that_cannot_be_used_are_listed(tmp_path):
    rows = [(f"{i}.png", ("a", "b")[i % 2], "", "") for i in range(6)]
    for row in rows:
        draw(tmp_path / row[0])
    for name in ("unnamed.png", "unclassed.png"):
        draw(tmp_path / name)
    rows += [("gone.png", "a", "", ""), ("0.png", "b", "", ""), ("unclassed.png", "", "", ""),
             ("1.png", "b", "", "")]  # fmt: skip
    write_index(tmp_path, rows)
    manifest, skipped = index(tmp_path)
    assert len(manifest) == 6
    assert Counter((s.path, s.kind) for s in skipped) == Counter(
        [("gone.png", "missing"), ("0.png", "repeated"), ("unclassed.png", "unlabelled"),
         ("1.png", "repeated"), ("unnamed.png", "unlisted")]
    )  # fmt: skip


def test_csv_columns_ids_and_paths_that_leave_the_folder(tmp_path):
    for i in range(6):
        draw(tmp_path / "elsewhere" / f"{i}.png")
    (tmp_path / "tables").mkdir()
    rows = [(f"..\\elsewhere\\{i}.png", ("a", "b")[i % 2], f"case-{i}") for i in range(6)]
    write_index(tmp_path / "tables", rows, header="file,class,key")
    manifest, _ = index(
        tmp_path / "tables", path_column="file", label_column="class", id_column="key"
    )
    assert [r.id for r in manifest] == [f"case-{i}" for i in range(6)]
    assert manifest.records[0].path == "../elsewhere/0.png"
    assert manifest.file(manifest.records[0]).is_file()


def test_csv_cells_that_name_no_file_or_lead_astray(tmp_path):
    rows = [(f"{i}.png", ("a", "b")[i % 2], f"k{i}") for i in range(6)]
    for row in rows:
        draw(tmp_path / row[0])
    draw(tmp_path / "x.png")
    odd = [("y" * 300 + ".png", "a", ""), ("z\0.png", "a", ""), ("x.png", "a", "../../x")]
    write_index(tmp_path, [*rows, *odd], header="path,label,id")
    manifest, skipped = index(tmp_path)
    assert [r.id for r in manifest] == [f"k{i}" for i in range(6)]
    assert sorted(s.kind for s in skipped) == ["missing", "name", "name"]
    for label in ("..", "a/b", "a\\b", "c" * 101):
        write_index(tmp_path, [*rows, ("x.png", label, "x")], header="path,label,id")
        refused(tmp_path, "class names")
    write_index(tmp_path, [*rows, ("x.png", "A", "x")], header="path,label,id")
    refused(tmp_path, "'A' and 'a'")


def test_ids_never_lead_out_of_a_folder(tmp_path):
    (tmp_path / "tables").mkdir()
    rows = [(f"../{folder}/{i}.png", folder) for folder in "ab" for i in range(3)]
    for row in rows:
        draw(tmp_path / "tables" / row[0])
    write_index(tmp_path / "tables", rows, header="path,label")
    assert index(tmp_path / "tables")[0].records[0].id == "up/a/0"


def test_two_tables_that_fit_are_refused(tmp_path):
    root = busi(tmp_path)
    for name in ("a.csv", "b.csv"):
        write_index(root, [("benign/benign (1).png", "benign", "", "")], name=name)
    refused(root, "a.csv, b.csv")
    (root / "b.csv").write_text("some,other\n1,2\n")
    refused(root, "at least two classes|independent")
    assert len(index(root, layout="busi")[0]) == 9


def test_the_index_of_an_exported_set_keeps_its_masks(tmp_path):
    rows = []
    for i in range(6):
        masks = [f"masks/{i}-{part}.png" for part in "ab"]
        draw(tmp_path / "images" / f"{i}.png")
        for mask in masks:
            draw(tmp_path / mask, value=255)
        rows.append((f"images/{i}.png", "ab"[i % 2], "|".join(masks)))
    write_index(tmp_path, rows, header="path,label,masks")
    manifest, skipped = index(tmp_path)
    assert not skipped
    assert manifest.records[0].masks == ("masks/0-a.png", "masks/0-b.png")
    write_index(tmp_path, [(*row, "") for row in rows], header="path,label,masks,mask")
    assert not any(r.masks for r in index(tmp_path)[0])


def test_parquet_lists_of_masks(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = [f"{i}.png" for i in range(6)]
    masks = [[f"m{i}{part}.png" for part in "ab"[: i % 3]] or None for i in range(6)]
    for name in names:
        draw(tmp_path / name)
    for mask in chain.from_iterable(filter(None, masks)):
        draw(tmp_path / mask, value=255)
    table = pa.table({"path": names, "label": list("ababab"), "mask": masks})
    parquet.write_table(table, tmp_path / "index.parquet")
    manifest, skipped = index(tmp_path)
    assert not skipped
    assert [list(r.masks) or None for r in manifest] == masks


@pytest.mark.parametrize("way", ["absolute", "relative"])
def test_a_source_behind_a_link_finds_what_lies_outside(tmp_path, way):
    real = tmp_path / "deep" / "er" / "real"
    rows = []
    for i in range(6):
        path = draw(tmp_path / "deep" / "elsewhere" / f"{i}.png")
        given = str(path) if way == "absolute" else f"../../elsewhere/{path.name}"
        rows.append((given, "ab"[i % 2]))
    odd = [(str(tmp_path / "no\0folder" / "x.png"), "a"), (str(real / "gone.png"), "a")]
    real.mkdir(parents=True)
    write_index(real, [*rows, *odd], header="path,label")
    link = tmp_path / "link"
    link.symlink_to(real)
    found, skipped = index(real)
    assert found.records[0].path == "../../elsewhere/0.png"
    assert sorted(s.kind for s in skipped) == ["missing", "name"]
    for source in (link, link / "index.csv"):
        manifest, left_out = index(source)
        assert manifest.records == found.records
        assert sorted(s.kind for s in left_out) == ["missing", "name"]
