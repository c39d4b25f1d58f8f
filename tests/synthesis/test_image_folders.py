"""Which images of a folder count as synthetic: all of a strange one, the listed ones of ours."""

import numpy as np
import pytest
from PIL import Image

from sonobalance.data.images import write_png
from sonobalance.data.manifest import Manifest, Record
from sonobalance.errors import InputError
from sonobalance.synthesis.image_folders import find_images


def draw(*paths):
    for path in paths:
        write_png(path, np.full((20, 20), 9, np.uint8))


def listed(folder, name, **origins):
    """A folder as our commands write it: a list, and the images in it."""
    for key in origins:
        draw(folder / "images" / f"{key}.png")
    Manifest(
        tuple(Record(k, f"images/{k}.png", "a", origin=o) for k, o in origins.items()), folder
    ).write(folder / name)
    return folder


def found(folder):
    return find_images(folder, synthetic_only=True).names


@pytest.mark.parametrize("name", ["manifest.csv", "index.csv"])
def test_of_our_folders_the_synthetic_images_only(tmp_path, name):
    assert found(listed(tmp_path, name, r="real", s="synthetic")) == ("images/s.png",)


@pytest.mark.parametrize("origins", [{"r": "real"}, {}], ids=["real images only", "no image"])
def test_a_list_of_ours_without_synthetic_images_is_refused(tmp_path, origins):
    draw(tmp_path / "other.png")
    with pytest.raises(InputError, match=r"index\.csv, but it lists none; give"):
        found(listed(tmp_path, "index.csv", **origins))


def test_of_a_run_its_synthesis(tmp_path):
    listed(tmp_path, "manifest.csv", r="real")
    (tmp_path / "run.json").write_text("{}")
    draw(tmp_path / "maps" / "figure.png")
    with pytest.raises(InputError, match="run `synthesize`"):
        found(tmp_path)
    listed(tmp_path / "synthesis", "manifest.csv", s="synthetic")
    assert found(tmp_path) == ("synthesis/images/s.png",)
    listed(tmp_path / "synthesis", "manifest.csv")
    with pytest.raises(InputError, match="lists none"):
        found(tmp_path)


def test_frames_and_archives_are_images_too(tmp_path):
    frames = [Image.fromarray(np.full((20, 20), k, np.uint8)) for k in range(3)]
    frames[0].save(tmp_path / "clip.tif", save_all=True, append_images=frames[1:])
    arrays = {f"{part}_images": np.zeros((2, 20, 20), np.uint8) for part in ("train", "val")}
    labels = {f"{part}_labels": np.zeros((2, 1), np.uint8) for part in ("train", "val")}
    np.savez(tmp_path / "set.npz", **arrays, **labels)
    images = find_images(tmp_path)
    assert images.names[:3] == ("clip.tif#0", "clip.tif#1", "clip.tif#2")
    assert images.groups[:3] == ("clip.tif",) * 3
    assert len(images) + len(images.unreadable) > 3


@pytest.mark.parametrize("content", [b"path,label\nx.png,a\n", b"caf\xe9,x\n", b""])
def test_a_list_that_is_not_ours_changes_nothing(tmp_path, content):
    draw(tmp_path / "a" / "1.png", tmp_path / "a" / "1_mask.png")
    (tmp_path / "index.csv").write_bytes(content)
    assert found(tmp_path) == ("a/1.png",)
