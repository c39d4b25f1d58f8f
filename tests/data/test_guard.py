from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonobalance.data.guard import check_allowed, reading_only
from sonobalance.data.images import read_gray, read_mask
from sonobalance.data.loading import load_images
from sonobalance.data.manifest import Manifest, Record
from sonobalance.errors import LeakError


@pytest.fixture
def folder(tmp_path: Path) -> Manifest:
    """Four images with masks, of two classes."""
    rng = np.random.default_rng(0)
    records = []
    for i in range(4):
        for name in (f"{i}.png", f"{i}_mask.png"):
            noise = rng.integers(0, 256, (16, 20), dtype=np.uint8)
            Image.fromarray(noise).save(tmp_path / name)
        records.append(Record(f"{i}", f"{i}.png", "ab"[i % 2], masks=(f"{i}_mask.png",)))
    return Manifest(tuple(records), tmp_path)


def test_without_a_guard_everything_may_be_read(folder: Manifest) -> None:
    assert len(load_images(folder, 16, folder.classes)) == 4


def test_a_guard_lets_its_own_images_and_masks_through_and_nothing_else(folder: Manifest) -> None:
    train, other = folder.select(["0", "1"]), folder.select(["3"])
    with reading_only(train):
        assert len(load_images(train, 16, folder.classes)) == 2
        read_mask(train.mask_files(train.records[0]), 16, 20)
        with pytest.raises(LeakError, match=r"3\.png"):
            load_images(other, 16, folder.classes)
        with pytest.raises(LeakError, match="3_mask"):
            read_mask(other.mask_files(other.records[0]), 16, 20)
    assert read_gray(folder.root / "3.png").shape == (16, 20)


def test_nested_guards_intersect(folder: Manifest) -> None:
    with reading_only(folder.select(["0", "1"])):
        with reading_only(folder.select(["1", "2"])):
            read_gray(folder.root / "1.png")
            for forbidden in ("0.png", "2.png"):
                with pytest.raises(LeakError):
                    read_gray(folder.root / forbidden)
        read_gray(folder.root / "0.png")


def test_an_inner_guard_never_widens(folder: Manifest) -> None:
    with (
        reading_only(folder.select(["0"])),
        reading_only(folder, folders=[folder.root]),
        pytest.raises(LeakError),
    ):
        read_gray(folder.root / "1.png")


def test_a_guard_with_nothing_forbids_everything(folder: Manifest) -> None:
    with reading_only(), pytest.raises(LeakError):
        read_gray(folder.root / "0.png")


def test_folders_are_allowed_with_what_lies_in_them(folder: Manifest, tmp_path: Path) -> None:
    made = tmp_path / "synthesis" / "images" / "a"
    made.mkdir(parents=True)
    Image.new("L", (16, 16)).save(made / "s.png")
    with reading_only(folder.select(["0"]), folders=[tmp_path / "synthesis"]):
        read_gray(made / "s.png")
        with pytest.raises(LeakError):
            read_gray(folder.root / "2.png")


def test_the_guard_falls_when_its_block_fails(folder: Manifest) -> None:
    with pytest.raises(KeyError), reading_only(folder.select(["0"])):
        raise KeyError
    read_gray(folder.root / "3.png")


def test_another_way_to_write_a_path_does_not_help(
    folder: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.root)
    with reading_only(folder.select(["0"])):
        check_allowed(Path("0.png"))
        with pytest.raises(LeakError):
            check_allowed(Path("3.png"))
        with pytest.raises(LeakError):
            check_allowed(folder.root / "sub" / ".." / "3.png")


def test_of_a_clip_only_the_frames_of_the_manifest_are_allowed(tmp_path: Path) -> None:
    clip = Manifest(tuple(Record(f"c{f}", "c.dcm", "a", frame=f) for f in (0, 2)), tmp_path)
    with reading_only(clip):
        check_allowed(tmp_path / "c.dcm", 0)
        check_allowed(tmp_path / "c.dcm", 2)
        with pytest.raises(LeakError):
            check_allowed(tmp_path / "c.dcm", 1)
