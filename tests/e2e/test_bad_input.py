"""Bad input at the command line: one sentence, exit code 2, nothing half-written."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonobalance import cli

CLASSES = ("benign", "malignant", "normal")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four small images per class."""
    root = tmp_path / "images"
    rng = np.random.default_rng(0)
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for i in range(4):
            pixels = rng.integers(0, 255, (40, 50), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{name} ({i}).png")
    return root


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(words))
    said = capsys.readouterr().err
    assert stop.value.code == cli.BAD_INPUT, said
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("sonobalance: ")]
    assert len(lines) == 1, said
    return lines[0]


def empty_a_class(root: Path) -> None:
    for path in (root / "normal").iterdir():
        path.unlink()


def leave_one_each(root: Path) -> None:
    for name in CLASSES:
        for i in (1, 2, 3):
            (root / name / f"{name} ({i}).png").unlink()


def leave_one_class(root: Path) -> None:
    shutil.rmtree(root / "normal")
    shutil.rmtree(root / "malignant")


def remove_everything(root: Path) -> None:
    for name in CLASSES:
        shutil.rmtree(root / name)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (empty_a_class, "normal"),
        (leave_one_each, "benign"),
        (leave_one_class, "class"),
        (remove_everything, "images"),
    ],
)
def test_a_set_that_cannot_be_used_is_refused_and_leaves_nothing(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: Callable[[Path], None],
    named: str,
) -> None:
    spoil(folder)
    out = tmp_path / "out"
    assert named in refused(capsys, "run", str(folder), "--out", str(out))
    assert not out.exists()


def test_broken_images_in_a_good_folder_are_listed_and_skipped(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = (folder / "benign" / "benign (0).png").read_bytes()
    (folder / "benign" / "zero.png").write_bytes(b"")
    (folder / "benign" / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "benign" / "text.png").write_text("not an image")
    Image.new("L", (1, 1)).save(folder / "benign" / "pixel.png")
    with pytest.raises(SystemExit) as stop:
        cli.main(["index", str(folder), "--out", str(tmp_path / "out")])
    capsys.readouterr()
    assert stop.value.code == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert sorted(Path(item["path"]).name for item in record["skipped"]) == [
        "cut.png", "pixel.png", "text.png", "zero.png",
    ]  # fmt: skip
    assert all(item["reason"] for item in record["skipped"])


def test_odd_but_readable_images_are_used(folder: Path, tmp_path: Path) -> None:
    target = folder / "benign"
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 65535, (40, 50)).astype(np.uint16)).save(target / "deep.png")
    Image.new("CMYK", (40, 50), (10, 20, 30, 40)).save(target / "print.jpg")
    Image.new("RGBA", (40, 50), (10, 20, 30, 40)).save(target / "alpha.png")
    frames = [Image.fromarray(rng.integers(0, 255, (40, 50), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(target / "moving.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(SystemExit) as stop:
        cli.main(["index", str(folder), "--out", str(tmp_path / "out")])
    assert stop.value.code == 0
    manifest = (tmp_path / "out" / "manifest.csv").read_text()
    assert all(name in manifest for name in ("deep", "print", "alpha", "moving"))


def test_a_mask_of_another_shape_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (90, 20)).save(folder / "benign" / "benign (0)_mask.png")
    with pytest.raises(SystemExit):
        cli.main(["index", str(folder), "--out", str(tmp_path / "out")])
    capsys.readouterr()
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert any("mask" in item["path"] for item in record["skipped"])


def test_an_output_that_cannot_be_made_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    said = refused(capsys, "run", str(folder), "--out", str(tmp_path / "file" / "out"))
    assert "choose another --out" in said


def test_a_full_disk_is_said_in_one_sentence(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sonobalance.files.os.fsync", full)
    said = refused(capsys, "run", str(folder), "--out", str(tmp_path / "out"))
    assert "disk is full" in said
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]
