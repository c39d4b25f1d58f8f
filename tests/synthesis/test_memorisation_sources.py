"""What the synthetic images are compared with: a source as `index` takes it, a run, any folder."""

import csv
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from sonobalance import api, memorisation
from sonobalance.data.images import read_gray, write_png
from sonobalance.data.phantoms import KINDS, make_phantoms, phantom
from sonobalance.errors import InputError
from sonobalance.reporting import memorisation_page
from sonobalance.synthesis.image_folders import find_real, read_named, root_of
from sonobalance.synthesis.neighbours import by_features, by_pixels

CLIPS, FRAMES = 8, 5


def pictures(seed, n):
    rng = np.random.default_rng(seed)
    return [phantom(KINDS[i % 2], rng, 64)[0][:48, :48] for i in range(n)]


def archive(path):
    images = np.stack(pictures(1, 12))
    labels = np.arange(12)[:, None] % 2
    np.savez(path, train_images=images[:8], train_labels=labels[:8],
             test_images=images[8:], test_labels=labels[8:])  # fmt: skip
    return images


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Clips of unrelated frames in class folders, and copies of their frames 2."""
    root = tmp_path_factory.mktemp("clips")
    for i in range(CLIPS):
        frames = [Image.fromarray(p) for p in pictures(i + 10, FRAMES)]
        path = root / "real" / KINDS[i % 2] / f"{i}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        frames[0].save(path, save_all=True, append_images=frames[1:])
        write_png(root / f"made/{i}.png", np.asarray(frames[2]))
    return root


@pytest.mark.parametrize("flat", [False, True], ids=["class folders", "any folder"])
def test_copies_of_every_frame_are_found_and_shown(clips, tmp_path, monkeypatch, flat):
    real = clips / "real"
    if flat:
        real = tmp_path / "flat"
        for path in clips.glob("real/*/*.tif"):
            (real / path.name).parent.mkdir(exist_ok=True)
            shutil.copy(path, real)
    shown = {}
    fit = memorisation_page.fit

    def watched(image, side):
        return shown.setdefault(image.tobytes(), fit(image, side))

    monkeypatch.setattr(memorisation_page, "fit", watched)
    memorisation(clips / "made", real=real, out=tmp_path / "out")
    with (tmp_path / "out/memorisation.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == CLIPS
    for row in rows:
        assert row["nearest"].endswith(row["file"].replace(".png", ".tif#2")), row
        assert row["copy"] == "true"
    assert shown.keys() == {read_gray(clips / "made" / r["file"]).tobytes() for r in rows}


def test_frames_of_a_clip_are_relatives(clips, tmp_path):
    found = find_real(clips / "real")
    assert len(found) == CLIPS * 3
    assert len(set(found.groups)) == CLIPS
    (tmp_path / "one").mkdir()
    shutil.copy(clips / "real" / KINDS[0] / "0.tif", tmp_path / "one")
    with pytest.raises(InputError, match="unrelated real images"):
        memorisation(clips / "made", real=tmp_path / "one", out=tmp_path / "out")


def test_archives_and_tables_are_sources(tmp_path):
    images = archive(tmp_path / "set.npz")
    found = find_real(tmp_path / "set.npz")
    assert found.names == tuple(f"set.npz#{i}" for i in range(12))
    assert len(set(found.groups)) == 12
    assert np.array_equal(read_named(root_of(tmp_path / "set.npz"), "set.npz#9"), images[9])
    rows = ["path,label,mask"]
    for i, image in enumerate(images):
        write_png(tmp_path / f"table/{i}.png", image)
        write_png(tmp_path / f"table/{i}-lesion.png", image)
        rows.append(f"{i}.png,{'ab'[i % 2]},{i}-lesion.png")
    write_png(tmp_path / "table/stray.png", images[0])
    (tmp_path / "table/set.csv").write_text("\n".join(rows) + "\n")
    for source in (tmp_path / "table", tmp_path / "table/set.csv"):
        found = find_real(source)
        assert sorted(found.names) == sorted(f"{i}.png" for i in range(12))
        assert list(found.unreadable) == ["stray.png"]
    with pytest.raises(InputError):
        find_real(tmp_path / "table/0.png")


def test_of_a_run_the_images_of_its_manifest(tmp_path):
    source, run = tmp_path / "source", tmp_path / "run"
    make_phantoms(source, images=24, size_px=64)
    api.index(source, out=run)
    write_png(run / "maps/figure.png", pictures(0, 1)[0])
    found = find_real(run)
    assert found.names == find_real(source).names
    assert root_of(run) == source
    assert not any("mask" in name for name in found.names)


def test_images_that_say_they_are_synthetic_are_not_real(tmp_path):
    for i, image in enumerate(pictures(2, 6)):
        write_png(tmp_path / f"{i}.png", image, {"synthetic": "true"} if i == 5 else None)
    found = find_real(tmp_path)
    assert len(found) == 5
    assert "synthetic" in found.unreadable["5.png"]


def test_relatives_do_not_make_real_images_look_alike():
    """Two frames of a clip are nearly one picture; how close strangers are is another matter."""
    first, second = (torch.from_numpy(p)[None, None] for p in pictures(3, 2))
    known = torch.cat([first, first.clamp(max=250), second])
    for measure in (by_pixels, by_features):
        apart = measure(first, known[[0, 2]], ["a", "b"]).usual
        assert measure(first, known, ["a", "a", "b"]).among_real[0] == pytest.approx(apart, rel=0.3)
        assert measure(first, known, ["a", "b", "c"]).among_real[0] < 0.1 * apart
