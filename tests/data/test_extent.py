"""What a source consists of: the digest follows what the index reads, the count what it lists."""

import hashlib
import os
import zipfile

import numpy as np
import pytest
from made_up_folders import AUTO, busi, draw, index, write_index
from test_published import BUSBRA, BY_TABLE, busbra, busuclm, medmnist

from sonobalance import cli
from sonobalance.config import DataSettings
from sonobalance.data import images
from sonobalance.data.extent import count_images, source_digest
from sonobalance.errors import InputError
from sonobalance.files import read_json


def digest(source, **settings):
    return source_digest(source, DataSettings(**settings))


def differ(source, *changes):
    """Whether each change alters the digest, and the digest is its own otherwise."""
    found = []
    for change in changes:
        before = digest(source)
        assert digest(source) == before
        change()
        found.append(digest(source) != before)
    return found


def call(*words):
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    return int(stop.value.code or 0)


def test_a_plain_folder_has_the_digest_of_its_names_and_bytes(tmp_path):
    root = busi(tmp_path)
    whole = hashlib.sha256()
    for path in sorted(root.rglob("*.png")):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(root).as_posix()}\0{content}\n".encode())
    assert digest(root) == whole.hexdigest()


def test_what_the_index_reads_counts_and_nothing_else(tmp_path):
    root = busi(tmp_path)
    image, mask = root / "benign" / "benign (1).png", root / "benign" / "benign (1)_mask.png"
    assert all(differ(
        root,
        lambda: image.write_bytes(b"other"),
        lambda: mask.write_bytes(b"other"),
        lambda: image.rename(root / "benign" / "renamed.png"),
        lambda: (root / "benign" / "photo.heic").write_bytes(b"new"),
        lambda: (root / "benign" / "gone.png").symlink_to(root / "nowhere"),
    ))  # fmt: skip
    (root / "run").mkdir()
    assert not any(differ(
        root,
        lambda: (root / ".DS_Store").write_bytes(b"new"),
        lambda: (root / "benign" / "Thumbs.db").write_bytes(b"new"),
        lambda: (root / "README.md").write_text("new"),
        lambda: (root / "run" / "run.json").write_text("{}"),
        lambda: (root / "run" / "report.png").write_bytes(b"new"),
    ))  # fmt: skip


def test_a_linked_class_folder_counts(tmp_path):
    root = busi(tmp_path / "data")
    far = draw(tmp_path / "far" / "cyst" / "1.png")
    (root / "cyst").symlink_to(far.parent)
    assert all(differ(root, lambda: far.write_bytes(b"other")))


def test_the_files_that_a_table_names_count_wherever_they_lie(tmp_path):
    for i in range(6):
        draw(tmp_path / "far" / f"{i}.png")
        draw(tmp_path / "far" / f"m{i}.png", value=255)
    (tmp_path / "tables").mkdir()
    rows = [(f"../far/{i}.png", "ab"[i % 2], "", f"../far/m{i}.png") for i in range(6)]
    table = write_index(tmp_path / "tables", [*rows, ("y" * 300 + ".png", "a", "", "z\0")])
    for source in (table, table.parent):
        assert differ(
            source,
            lambda: (tmp_path / "far" / "0.png").write_bytes(os.urandom(9)),
            lambda: (tmp_path / "far" / "m1.png").write_bytes(os.urandom(9)),
            lambda: draw(tmp_path / "far" / "unlisted.png"),
            lambda: table.write_text(table.read_text() + "7.png,a,,\n"),
        ) == [True, True, False, True]


def test_a_name_that_is_not_text_is_skipped_with_a_sentence_and_stops_nothing(tmp_path, capsys):
    root = busi(tmp_path / "data")
    draw(root / "benign" / "plain.png").rename(root / "benign" / os.fsdecode(b"caf\xe9.png"))
    assert call("index", root, "--out", tmp_path / "out") == 0, capsys.readouterr().err
    skipped = read_json(tmp_path / "out" / "run.json")["skipped"]
    assert [item["path"] for item in skipped] == ["benign/caf\\udce9.png"]


def test_a_run_inside_its_source_can_go_on(tmp_path, capsys):
    root = busi(tmp_path / "data")
    for _ in range(2):
        assert call("index", root, "--out", root / "run") == 0, capsys.readouterr().err
        (root / ".DS_Store").write_bytes(b"new")
    assert len(index(root)[0]) == 9


def sources(tmp_path):
    """Title → source and the number of images in it."""
    masked = tmp_path / "masked"
    for name in ("a", "b"):
        for i in range(3):
            draw(masked / name / "images" / f"{i}.png")
            draw(masked / name / "masks" / f"{i}.png", value=255)
    listed = tmp_path / "listed"
    for i in range(7):
        draw(listed / f"{i}.png")
    table = write_index(listed, [(f"{i}.png", "ab"[i % 2], "", "") for i in range(6)])
    medmnist(tmp_path / "archive.npz")
    return {
        "busi": (busi(tmp_path / "busi"), 9),
        "mask folders": (masked, 6),
        "table": (table, 6),
        "folder with a table": (listed, 6),
        "archive": (tmp_path / "archive.npz", 12),
        "bus-bra": (busbra(tmp_path / "busbra"), 12),
        "bus-uclm": (busuclm(tmp_path / "busuclm", BY_TABLE), 9),
    }


def test_the_count_is_that_of_the_index_and_decodes_nothing(tmp_path, monkeypatch):
    made = sources(tmp_path)
    for source, expected in made.values():
        assert len(index(source)[0]) == expected

    def forbidden(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(images, "_read", forbidden)
    monkeypatch.setattr("sonobalance.data.medmnist.load", forbidden)
    assert {title: count_images(source, AUTO) for title, (source, _) in made.items()} == {
        title: expected for title, (_, expected) in made.items()
    }


def test_what_cannot_be_counted_is_one_sentence(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"PK no archive")
    with zipfile.ZipFile(tmp_path / "b.npz", "w"):
        pass
    np.savez(tmp_path / "c.npz", train_images=np.zeros((2, 8, 8)))
    for name in "ac":
        with pytest.raises(InputError, match="damaged"):
            count_images(tmp_path / f"{name}.npz", AUTO)
    assert count_images(tmp_path / "b.npz", AUTO) == 0
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="another kind of file"):
        count_images(tmp_path / "notes.txt", AUTO)


@pytest.mark.parametrize("name", ["table", "archive"])
def test_a_dry_run_takes_every_source(tmp_path, monkeypatch, capsys, name):
    counted = []
    monkeypatch.setattr("sonobalance.plan.estimate", lambda images, _: counted.append(images) or [])
    source, expected = sources(tmp_path)[name]
    assert call("run", source, "--out", tmp_path / "out", "--dry-run") == 0, capsys.readouterr().err
    assert counted == [expected]
    assert not (tmp_path / "out").exists()


@pytest.mark.shared
@pytest.mark.skipif(not BUSBRA.is_dir(), reason="the real BUS-BRA is not beside the checkout")
def test_the_masks_of_the_real_busbra_are_no_images():
    assert count_images(BUSBRA, AUTO) == 1875
