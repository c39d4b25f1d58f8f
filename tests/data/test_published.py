"""Published sets in the layout they are distributed in, made from phantoms."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonobalance.config import DataSettings
from sonobalance.data.guard import reading_only
from sonobalance.data.images import read_color, read_gray, read_mask
from sonobalance.data.sources import index_folder
from sonobalance.errors import InputError, LeakError

BUSBRA = Path(__file__).parents[3] / "shared" / "data" / "BUSBRA"
RNG = np.random.default_rng(0)
GREEN, RED = (0, 255, 0), (255, 0, 0)


def draw(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def noise(*shape):
    return RNG.integers(0, 256, shape, np.uint8)


def busbra(root):
    lines = ["ID,Case,Histology,Pathology,BIRADS,Device,Width,Height,Side,BBOX"]
    for case in range(1, 7):
        label = "malignant" if case % 2 else "benign"
        for side in "lr":
            draw(root / "Images" / f"bus_{case:04d}-{side}.png", noise(30, 40))
            draw(root / "Masks" / f"mask_{case:04d}-{side}.png", noise(30, 40) > 200)
            row = f'bus_{case:04d}-{side},{case},cyst,{label},4,"GE, L7",274,353,left,"[1,2,3,4]"'
            lines.append(row)
    (root / "bus_data.csv").write_text("\n".join(lines))
    (root / "5-fold-cv.csv").write_text("ID,Pathology,kFold\n")
    return root


def test_busbra(tmp_path):
    manifest, skipped = index_folder(busbra(tmp_path), DataSettings())
    assert not skipped
    assert manifest.counts == {"benign": 6, "malignant": 6}
    first = manifest.records[0]
    assert (first.id, first.path, first.patient) == ("bus_0001-l", "Images/bus_0001-l.png", "1")
    assert first.masks == ("Masks/mask_0001-l.png",)
    assert (first.width, first.height, first.device) == (40, 30, "GE, L7")
    assert set(Counter(r.patient for r in manifest).values()) == {2}


def test_busbra_without_a_column_or_an_image(tmp_path):
    root = busbra(tmp_path)
    (root / "Images" / "bus_0001-l.png").unlink()
    manifest, skipped = index_folder(root, DataSettings())
    assert len(manifest) == 11
    assert [(s.path, s.kind) for s in skipped] == [("Images/bus_0001-l.png", "missing")]
    (root / "bus_data.csv").write_text("ID,Pathology\nx,benign\n")
    with pytest.raises(InputError, match="Case"):
        index_folder(root, DataSettings())


@pytest.mark.shared
@pytest.mark.skipif(not BUSBRA.is_dir(), reason="the real BUS-BRA is not beside the checkout")
def test_the_real_busbra():
    manifest, skipped = index_folder(BUSBRA, DataSettings())
    assert not skipped
    assert manifest.counts == {"benign": 1268, "malignant": 607}
    assert len({r.patient for r in manifest}) == 1064
    assert {len(r.masks) for r in manifest} == {1}


def busuclm(root, info):
    for patient, colour in (("ALWI", GREEN), ("FUHI", RED), ("NOLE", None)):
        for i in range(3):
            mask = np.zeros((30, 40, 3), np.uint8)
            if colour:
                mask[5 + i : 15, 10:20] = colour
            draw(root / "images" / f"{patient}{i}_{i:03d}.png", noise(30, 40, 3))
            draw(root / "masks" / f"{patient}{i}_{i:03d}.png", mask)
    (root / "INFO.csv").write_text(info)
    return root


HEADER = "Image;Height;Width;Doppler;Marks;Combined;Label\n"
BY_TABLE = HEADER + "".join(
    f"{patient}{i}_{i:03d}.png;30;40;0;0;0;{label}\n"
    for patient, label in (("ALWI", "Benign"), ("FUHI", "Malignant"), ("NOLE", "Normal"))
    for i in range(3)
)


@pytest.mark.parametrize("info", [BY_TABLE, "Image;Height;Width\n"], ids=["table", "colours"])
def test_busuclm(tmp_path, info):
    root = busuclm(tmp_path, info)
    manifest, skipped = index_folder(root, DataSettings())
    assert not skipped
    assert manifest.counts == {"benign": 3, "malignant": 3, "normal": 3}
    by_id = {r.id: r for r in manifest}
    red = by_id["FUHI1_001"]
    assert (red.label, red.patient, red.source) == ("malignant", "FUHI1", "bus-uclm")
    lesion = read_mask(manifest.mask_files(red), 30, 40)
    assert lesion.sum() == 9 * 10
    assert not read_mask(manifest.mask_files(by_id["NOLE0_000"]), 30, 40).any()


def test_busuclm_mask_that_is_broken_or_absent(tmp_path):
    root = busuclm(tmp_path, HEADER)
    (root / "masks" / "ALWI0_000.png").write_bytes(b"")
    draw(root / "images" / "ALWI9_000.png", noise(30, 40, 3))
    draw(root / "images" / "ALWI8_000.png", noise(30, 40, 3))
    mask = np.zeros((30, 40, 3), np.uint8)
    mask[:9, :9] = GREEN
    draw(root / "masks" / "ALWI8_000.png", mask)
    manifest, skipped = index_folder(root, DataSettings())
    assert len(manifest) == 9
    assert {s.path: s.kind for s in skipped} == {
        "images/ALWI0_000.png": "mask", "images/ALWI9_000.png": "unlabelled",
    }  # fmt: skip


def medmnist(path, channels=(), labels=None):
    parts = {"train": 6, "val": 3, "test": 3}
    arrays = {}
    for part, n in parts.items():
        arrays[f"{part}_images"] = noise(n, 28, 28, *channels)
        arrays[f"{part}_labels"] = np.arange(n)[:, None] % 2 if labels is None else labels[:n]
    np.savez_compressed(path, **arrays)
    return arrays


@pytest.mark.parametrize("channels", [(), (3,)])
def test_medmnist(tmp_path, channels):
    arrays = medmnist(tmp_path / "breastmnist.npz", channels)
    manifest, skipped = index_folder(tmp_path, DataSettings())
    assert not skipped
    assert manifest.counts == {"malignant": 7, "normal or benign": 5}
    assert index_folder(tmp_path / "breastmnist.npz", DataSettings())[0] == manifest
    read = read_color if channels else read_gray
    for r in manifest:
        _, part, i = r.id.split("/")
        assert np.array_equal(read(manifest.file(r), r.frame), arrays[f"{part}_images"][int(i)])


def test_the_guard_tells_images_of_one_archive_apart(tmp_path):
    medmnist(tmp_path / "other.npz")
    manifest, _ = index_folder(tmp_path, DataSettings())
    assert manifest.classes == ("0", "1")
    path = tmp_path / "other.npz"
    train = manifest.select(r.id for r in manifest if "/train/" in r.id)
    with reading_only(train):
        read_gray(path, 5)
        with pytest.raises(LeakError):
            read_gray(path, 6)
        with reading_only(manifest), pytest.raises(LeakError):
            read_gray(path, 6)


def test_archives_that_are_none_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(InputError, match="damaged"):
        index_folder(path, DataSettings())
    np.savez(path, x=np.zeros(3))
    with pytest.raises(InputError, match="train_images"):
        index_folder(path, DataSettings())
    medmnist(path, labels=np.zeros((6, 14), int))
    with pytest.raises(InputError, match="single-label"):
        index_folder(path, DataSettings())
    np.savez(path, train_images=np.array([object()], object), train_labels=np.zeros(1, int))
    with pytest.raises(InputError, match="ValueError"):  # pickled objects are not loaded
        index_folder(path, DataSettings())
    medmnist(path)
    with pytest.raises(InputError, match="frame 12"):
        read_gray(path, 12)


def test_parquet_index(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"path": f"{i}.png", "label": "ab"[i % 2], "patient": i} for i in range(6)]
    for row in rows:
        draw(tmp_path / row["path"], noise(20, 20))
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "index.parquet")
    manifest, skipped = index_folder(tmp_path, DataSettings())
    assert not skipped
    assert manifest.counts == {"a": 3, "b": 3}
    assert [r.patient for r in manifest] == list("012345")
    (tmp_path / "index.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(InputError, match="Parquet"):
        index_folder(tmp_path / "index.parquet", DataSettings())
