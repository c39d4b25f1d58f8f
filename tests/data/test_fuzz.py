"""Hundreds of damaged and odd files: each is read or refused, none hangs, the rest is used."""

import io
import json
import os
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonobalance.config import DataSettings
from sonobalance.data.sources import index_folder
from sonobalance.errors import InputError

WORKER = Path(__file__).with_name("fuzz_worker.py")
DAMAGED = 600
EXTREMES = [0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 0x00010001]


def encode(array, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, kind, **options)
    return buffer.getvalue()


def dicom(pixels, compressed):
    pydicom = pytest.importorskip("pydicom")
    ds = pydicom.Dataset()
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = pydicom.uid.UltrasoundImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds.PatientID, ds.Modality, ds.PhotometricInterpretation = "P1", "US", "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.BitsAllocated, ds.BitsStored, ds.HighBit = 1, 8, 8, 7
    ds.PixelRepresentation, ds.PixelData = 0, pixels.tobytes()
    if compressed:
        ds.compress(pydicom.uid.RLELossless)
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


@cache
def sources():
    """Whole files of every kind that is read: suffix, bytes."""
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 256, (40, 48), np.uint8)
    colour = rng.integers(0, 256, (40, 48, 3), np.uint8)
    frames = {"save_all": True, "append_images": [Image.fromarray(grey // 2)] * 3}
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        (".png", encode(grey, "PNG")),
        (".png", encode(colour, "PNG", exif=exif, icc_profile=b"profile")),
        (".png", encode(grey.astype(np.uint16) * 200, "PNG")),
        (".png", encode(grey, "PNG", **frames)),
        (".jpg", encode(grey, "JPEG")),
        (".jpg", encode(colour, "JPEG", progressive=True, exif=exif)),
        (".gif", encode(grey, "GIF", **frames)),
        (".bmp", encode(colour, "BMP")),
        (".tif", encode(colour, "TIFF", compression="tiff_lzw")),
        (".tif", encode(grey, "TIFF", compression="tiff_adobe_deflate", **frames)),
        (".tif", encode(grey.astype(np.float32), "TIFF")),
        (".webp", encode(colour, "WEBP", **frames)),
        (".dcm", dicom(grey, compressed=False)),
        (".dcm", dicom(grey, compressed=True)),
    ]


def overwrite(data, rng):
    for i in rng.integers(0, len(data), int(rng.integers(1, 30))):
        data[i] = int(rng.integers(256))
    return data


def truncate(data, rng):
    return data[: int(rng.integers(0, len(data)))]


def remove(data, rng):
    start = int(rng.integers(0, len(data)))
    return data[:start] + data[start + int(rng.integers(1, 64)) :]


def repeat(data, rng):
    start = int(rng.integers(0, len(data)))
    piece = data[start : start + int(rng.integers(1, 400))]
    return data[:start] + piece * int(rng.integers(2, 50)) + data[start:]


def blank(data, rng):
    start = int(rng.integers(0, len(data)))
    length = min(int(rng.integers(1, 500)), len(data) - start)
    return data[:start] + bytes(length) + data[start + length :]


def extreme_number(data, rng):
    """A size, an offset or a count near the start becomes extreme; a PNG's checksum is mended."""
    start = int(rng.integers(8, min(len(data), 120) - 4))
    number = struct.pack(rng.choice(["<I", ">I"]), int(rng.choice(EXTREMES)))
    data[start : start + 4] = number
    if data[:4] == b"\x89PNG":
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return data


def splice(data, rng):
    other = bytearray(sources()[int(rng.integers(14))][1])
    cut = int(rng.integers(0, min(len(data), len(other))))
    return data[:cut] + other[cut:]


MUTATORS = (overwrite, truncate, remove, repeat, blank, extreme_number, splice)


def png_of(width, height, data):
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", data), (b"IEND", b"")]
    packed = (struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d))
              for t, d in chunks)  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def pages(count):
    """A TIFF of `count` pages that all show the same pixels."""
    data = b"II*\0" + struct.pack("<I", 8)
    tags = {256: 16, 257: 16, 258: 8, 259: 1, 262: 1, 273: 4, 277: 1, 278: 16, 279: 256}
    for page in range(count):
        follows = len(data) + 6 + 12 * len(tags) if page < count - 1 else 0
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
        data += struct.pack("<H", len(tags)) + entries + struct.pack("<I", follows)
    return data + bytes(256)


def clip(count):
    """A GIF that repeats its one frame."""
    whole = encode(np.zeros((20, 20), np.uint8), "GIF")
    start = whole.index(b"\x2c")
    return whole[:start] + whole[start:-1] * count + b";"


def scans(count):
    """A progressive JPEG that refines all its pixels again and again."""
    whole = encode(np.zeros((4000, 4000), np.uint8), "JPEG", progressive=True)
    start = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[start:-2] * count + whole[-2:]


@cache
def odd_files():
    """Files nobody damaged at random: name, bytes. None of them may be used."""
    jpeg = bytearray(encode(np.zeros((16, 16), np.uint8), "JPEG"))
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = b"\xff\xff\xff\xff"
    bmp = bytearray(encode(np.zeros((16, 16), np.uint8), "BMP"))
    bmp[18:26] = struct.pack("<ii", 40_000, 40_000)
    gif = bytearray(encode(np.zeros((16, 16), np.uint8), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    zeros = zlib.compress(bytes(10_001 * 6_000), 9)
    return {
        "empty.png": b"", "text.jpg": b"hello", "page.png": b"<html></html>",
        "postscript.png": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "header_bomb.png": png_of(60_000, 60_000, b""),
        "bomb.png": png_of(10_000, 6_000, zeros), "bomb.jpg": bytes(jpeg),
        "bomb.bmp": bytes(bmp), "bomb.gif": bytes(gif),
        "dot.png": encode(np.zeros((1, 1), np.uint8), "PNG"),
        "line.png": encode(np.zeros((1, 60_000), np.uint8), "PNG"),
        "nan.tif": encode(np.full((20, 20), np.nan, np.float32), "TIFF"),
        "pages.tif": pages(3000), "clip.gif": clip(3000), "scans.jpg": scans(150),
        "a\nb.png": b"x", "|_mask.png": b"x", "\udcff\udcfe.png": b"x", "ü" * 100 + ".png": b"x",
    }  # fmt: skip


def mutated(data, rng):
    """The bytes after one or two mutations, never fewer than 130."""
    changed = bytearray(data)
    for _ in range(int(rng.integers(1, 3))):
        changed = MUTATORS[int(rng.integers(len(MUTATORS)))](changed, rng)
        changed += bytes(max(0, 130 - len(changed)))
    return bytes(changed)


def fill(root):
    """Write good, damaged and odd files; return their names."""
    rng = np.random.default_rng(2)
    folder = root / "benign"
    folder.mkdir(parents=True)
    (root / "malignant").mkdir()
    whole = sources()
    good = {f"benign/good{i}{suffix}" for i, (suffix, _) in enumerate(whole)}
    for i, (suffix, data) in enumerate(whole):
        (folder / f"good{i}{suffix}").write_bytes(data)
    for i in range(3):
        (root / "malignant" / f"good{i}.png").write_bytes(whole[i][1])
        good.add(f"malignant/good{i}.png")
    for i in range(DAMAGED):
        suffix, data = whole[i % len(whole)]
        (folder / f"damaged{i:03d}{suffix}").write_bytes(mutated(data, rng))
    (folder / "odd").mkdir()
    for name, data in odd_files().items():
        (folder / "odd" / name).write_bytes(data)
    (folder / "folder.png").mkdir()
    (folder / "self.png").symlink_to(folder / "self.png")
    for name in ("pipe.png", "pipe", "pipe.dcm"):
        os.mkfifo(folder / name)
    return good


def test_damaged_and_odd_files_are_read_or_refused(tmp_path):
    root = tmp_path / "data"
    good = fill(root)
    done = subprocess.run(
        [sys.executable, "-W", "error", str(WORKER), str(root)],
        capture_output=True, text=True, check=False, timeout=550,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    last = done.stdout.strip().splitlines()[-1]
    assert done.returncode == 0, f"{last}\n{done.stderr[-2000:]}"
    result = json.loads(last)
    used, skipped = set(result["used"]), set(result["skipped"])
    assert good <= used
    for i in range(DAMAGED):
        name = f"benign/damaged{i:03d}"
        assert any(path.startswith(name) for path in used | skipped), name
    assert not any("/odd/" in path for path in used)
    assert sum("/odd/" in path for path in skipped) == len(odd_files())
    assert {"benign/self.png", "benign/pipe.png", "benign/pipe.dcm"} <= skipped
    assert result["peak_mib"] < 1000


def table_files():
    """An index as CSV and Parquet and a MedMNIST archive."""
    rows = [{"path": f"{i}.png", "label": "ab"[i % 2]} for i in range(6)]
    text = "path,label\n" + "".join(f"{row['path']},{row['label']}\n" for row in rows)
    yield "index.csv", text.encode()
    buffer = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 256, (6, 28, 28), np.uint8)
    np.savez_compressed(buffer, train_images=pixels, train_labels=np.arange(6)[:, None] % 2)
    yield "set.npz", buffer.getvalue()
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
    yield "index.parquet", buffer.getvalue()


def test_damaged_tables_and_archives_are_read_or_refused(tmp_path):
    rng = np.random.default_rng(4)
    for i in range(6):
        (tmp_path / f"{i}.png").write_bytes(sources()[0][1])
    for name, data in table_files():
        (tmp_path / name).write_bytes(data)
        assert len(index_folder(tmp_path / name, DataSettings())[0]) == 6
        for _ in range(60):
            (tmp_path / name).write_bytes(mutated(data, rng))
            with suppress(InputError):
                index_folder(tmp_path / name, DataSettings())
