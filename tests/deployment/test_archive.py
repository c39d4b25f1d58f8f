"""A bundle is accepted when every byte is as it was written, and refused in one sentence else."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from made_up_bundle import bundle_files

from sonobalance.deployment.archive import SUMS, read_files, sums_of, write_bundle, zipped
from sonobalance.deployment.check import load_verified
from sonobalance.errors import InputError


def refused(path, match):
    with pytest.raises(InputError, match=match) as caught:
        load_verified(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert text.startswith("Expected")


def resummed(folder):
    """Make the sums true again, as an attacker would."""
    files = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != SUMS}
    (folder / SUMS).write_bytes(sums_of(files))
    return folder


def test_folder_and_zip_hold_the_same(whole):
    archive = whole.with_name("toy.zip")
    assert read_files(whole) == read_files(archive)
    assert load_verified(archive)[1] == 0


def test_sums_are_those_of_sha256sum(whole):
    for line in (whole / SUMS).read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((whole / name).read_bytes()).hexdigest() == digest


def test_the_same_files_give_the_same_zip():
    files = {"a": b"1", "b": b"2" * 1000}
    assert zipped(files) == zipped(dict(reversed(files.items())))


def test_any_changed_byte_of_any_file_is_refused(whole, copy):
    rng = np.random.default_rng(0)
    for name in sorted(path.name for path in whole.iterdir()):
        path = copy() / name
        content = bytearray(path.read_bytes())
        content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        refused(path.parent, ".")


def test_any_missing_file_is_refused(whole, copy):
    for name in sorted(path.name for path in whole.iterdir()):
        folder = copy()
        (folder / name).unlink()
        refused(folder, name)


def test_another_format_version_is_refused_whatever_else_changed(copy):
    folder = copy()
    page = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(page | {"format_version": 9, "new": 1}))
    refused(folder, "format version 1 to 2, but .* has version 9")


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("weights.pt", b"x", "pickle"),
        ("model.json", pickle.dumps({"a": 1}), "pickle"),
        ("weights.safetensors", pickle.dumps([1], protocol=2), "pickle"),
        ("weights.safetensors", zipped({"archive/data.pkl": b"x"}), "pickle"),
        ("notes.txt", b"x", "only the files of SHA256SUMS"),
        (".hidden", b"x", "plain file names"),
        ("model.json", b"[" * 100_000, "format"),
        ("model.json", b"{}", "format"),
        (SUMS, b"rm -rf\n", "lines of `sha256sum`"),
        (SUMS, b"", "as it was written|missing|only the files"),
    ],
)
def test_what_does_not_belong_is_refused(copy, name, content, match):
    folder = copy()
    (folder / name).write_bytes(content)
    refused(folder, match)


@pytest.mark.parametrize("name", ["golden.json", "model.json", "reference.safetensors"])
def test_malformed_files_with_true_sums_are_refused(copy, name):
    folder = copy()
    (folder / name).write_bytes(b"\x00\xff nonsense")
    refused(resummed(folder), ".")


def test_settings_that_are_not_known_are_refused(copy):
    folder = copy()
    page = json.loads((folder / "model.json").read_text())
    for changed, match in (
        (page | {"classes": ["a"]}, "classes|List"),
        (page | {"surprise": 1}, "surprise"),
        (page | {"network": page["network"] | {"backbone": "hf-hub:evil/model"}}, "timm"),
        (page | {"network": page["network"] | {"backbone": "resnet10t"}}, "weights"),
        (page | {"preprocessing": page["preprocessing"] | {"image_size_px": 64}}, "image size"),
        (page | {"classes": ["a", "a", "b"]}, "once"),
    ):
        (folder / "model.json").write_text(json.dumps(changed))
        with pytest.raises(InputError, match=match):
            load_verified(resummed(folder))


def test_links_and_folders_are_refused(copy, tmp_path):
    (tmp_path / "outside").write_text("x")
    folder = copy()
    (folder / "link").symlink_to(tmp_path / "outside")
    refused(folder, "a folder or a link")
    folder = copy()
    (folder / "inner").mkdir()
    refused(folder, "a folder or a link")


def test_nothing_there(tmp_path):
    refused(tmp_path / "none", "a folder or a .zip")
    refused(tmp_path, "model.json")


def write_zip(path, members, mode="w", packed=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, mode, packed) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_hostile_zips_are_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "hostile.zip"
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weights.safetensors", bytes(300 * 2**20))
    link = zipfile.ZipInfo("model.json")
    link.external_attr = 0o120777 << 16
    cases = [
        ([("../evil", b"x")], "leads out"),
        ([("/etc/evil", b"x")], "leads out"),
        ([("C:\\evil", b"x")], "leads out"),
        ([(link, b"/etc/passwd")], "is a link"),
        ([("a/b/c", b"x")], "plain file names"),
        ([("a/x", b"1"), ("x", b"2")], "plain file names"),
        ([(f"f{i}", b"x") for i in range(100)], "100 files"),
        ([("model.json", b" " * (33 * 2**20))], "at most 32 MiB|safe to unpack"),
    ]
    for members, match in cases:
        refused(write_zip(path, members), match)
    path.write_bytes(bomb.getvalue())
    refused(path, "safe to unpack")
    path.write_bytes(b"PK\x03\x04 no zip")
    refused(path, "whole bundle")
    assert [p.name for p in tmp_path.iterdir()] == ["hostile.zip"]


def test_a_file_twice_is_refused(tmp_path):
    path = tmp_path / "twice.zip"
    with pytest.warns(UserWarning, match="Duplicate"):
        write_zip(path, [("model.json", b"{}"), ("model.json", b"{}")])
    refused(path, "twice")


def test_a_zip_with_a_folder_around_the_files_is_read(tmp_path, whole):
    members = [(f"toy/{p.name}", p.read_bytes()) for p in whole.iterdir()]
    assert read_files(write_zip(tmp_path / "packed.zip", members)) == read_files(whole)


def test_a_zip_with_a_flipped_byte_is_refused(tmp_path, whole):
    content = bytearray(whole.with_name("toy.zip").read_bytes())
    content[len(content) // 2] ^= 4
    (tmp_path / "flipped.zip").write_bytes(content)
    refused(tmp_path / "flipped.zip", "whole bundle")


def declaring(path, size):
    """Let a ZIP of one file declare another size of it, where it is stored and in the index."""
    content = path.read_bytes()
    for magic, offset in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        at = content.index(magic) + offset
        content = content[:at] + size.to_bytes(4, "little") + content[at + 4 :]
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("packed", "match"),
    [
        (zipfile.ZIP_DEFLATED, "whole bundle"),
        (zipfile.ZIP_BZIP2, "neither stored nor deflated"),
        (zipfile.ZIP_LZMA, "neither stored nor deflated"),
    ],
)
def test_no_more_is_unpacked_than_a_file_declares(tmp_path, packed, match):
    path = write_zip(tmp_path / "bomb.zip", [("model.json", bytes(2**25))], packed=packed)
    declaring(path, 1000)
    tracemalloc.start()
    try:
        refused(path, match)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_file_shorter_than_it_declares_is_refused(tmp_path):
    path = write_zip(tmp_path / "short.zip", [("model.json", b"{}")])
    refused(declaring(path, 1000), "Expected 1000 bytes in model.json .*, but got 2;")


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("number", [0, 1])
def test_an_interrupted_bundle_leaves_nothing_and_can_be_written_again(
    tmp_path, monkeypatch, number, late
):
    """Ctrl-C before or after each of the moves that make folder and ZIP appear."""
    replace, moved = Path.replace, []

    def interrupted(path, target):
        moved.append(target)
        stop = len(moved) == number + 1
        if stop and not late:
            raise KeyboardInterrupt
        replace(path, target)
        if stop:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_bundle(tmp_path / "b", {"a": b"1"})
    assert list(tmp_path.iterdir()) == []
    write_bundle(tmp_path / "b", {"a": b"1"})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "b.zip"]


def test_a_bundle_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="choose another --out"):
        write_bundle(tmp_path / "file" / "b", {"a": b"1"})
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_nothing_is_overwritten(whole):
    with pytest.raises(InputError, match="choose another --out"):
        write_bundle(whole, bundle_files())
