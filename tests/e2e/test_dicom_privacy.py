"""A whole run from DICOM files: nothing that names a patient stands in any file it leaves."""

from __future__ import annotations

import base64
import csv
import re
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from tiny_benchmark import FEW_EXPLAINED

from sonobalance import api
from sonobalance.config import Settings
from sonobalance.data.images import Gray, read_gray
from sonobalance.data.phantoms import make_phantoms

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402
from pydicom.uid import (  # noqa: E402
    ExplicitVRLittleEndian,
    UltrasoundMultiFrameImageStorage,
    generate_uid,
)

NAME, KEY, BIRTH, CLINIC = "Plantedname", "SECRETID", "19561231", "Hiddenclinic"
PLANTED = (NAME, KEY, BIRTH, "1956-12-31", "31.12.1956", CLINIC, "Doctorwho")
TINY = {
    "gan": {
        "image_size_px": 32, "base_channels": 8, "latent_dim": 32, "batch_size": 8,
        "autoencoder_kimg": 0.08, "total_kimg": 0.08, "snapshot_kimg": 0.04,
        "collapse_fraction": 0.0, "repetition_limit": 1.0,
    },
    "synthesis": {"rounds": 1, "gan_kimg_per_round": 0.04, "pool_factor": 2},
    "classifier": {
        "backbone": "resnet10t", "image_size_px": 32, "epochs": 1, "batch_size": 16,
    },
    "evaluation": {"resamples": 100},
    "explanation": FEW_EXPLAINED,
}  # fmt: skip


def write_dicom(path: Path, frames: list[Gray], patient: str) -> None:
    """A still or a clip of a patient who is named in every way that scanners know."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    ds.SOPClassUID = UltrasoundMultiFrameImageStorage
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID = generate_uid()
    ds.Modality = "US"
    ds.PatientName, ds.PatientID = f"{NAME}{patient}^Zoe", f"{KEY}{patient}"
    ds.PatientBirthDate, ds.InstitutionName = BIRTH, CLINIC
    ds.ReferringPhysicianName = "Doctorwho^Ann"
    ds.PatientComments = f"{NAME}{patient}, born 1956-12-31 (31.12.1956), id {KEY}{patient}"
    ds.StudyDescription = f"Breast {NAME}{patient}"
    block = ds.private_block(0x0099, "VENDOR", create=True)
    block.add_new(0x01, "LO", f"{KEY}{patient}")
    ds.Rows, ds.Columns = frames[0].shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 8, 8, 7, 0
    if len(frames) > 1:
        ds.NumberOfFrames = len(frames)
    data = np.stack(frames).tobytes()
    ds.PixelData = data + b"\0" * (len(data) % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path, enforce_file_format=True)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders of DICOM files: 60 phantoms, the first of each class as a clip."""
    base = tmp_path_factory.mktemp("clinic")
    phantoms = make_phantoms(base / "phantoms", images=60, size_px=64)
    folder = base / "dicom"
    with (phantoms / "index.csv").open(newline="") as handle:
        for number, row in enumerate(csv.DictReader(handle)):
            image = read_gray(phantoms / row["path"])
            first = not (folder / row["label"]).is_dir()
            moved = [image, np.roll(image, 2, axis=1), np.roll(image, 4, axis=1)]
            target = folder / row["label"] / f"scan{number:03d}.dcm"
            write_dicom(target, moved if first else [image], row["patient"])
    return folder


def contents(data: bytes) -> Iterator[bytes]:
    """The bytes, and what is packed in them: PNG streams, data URIs, and so on inside those."""
    yield data
    for start in re.finditer(rb"\x89PNG\r\n\x1a\n", data):
        yield from png_streams(data[start.start() :])
    for found in re.finditer(rb"base64,([A-Za-z0-9+/=]{16,})", data):
        yield from contents(base64.b64decode(found[1]))


def png_streams(data: bytes) -> Iterator[bytes]:
    """Compressed texts of a PNG, and its pixels."""
    place, pixels = 8, b""
    while place + 8 <= len(data):
        length = int.from_bytes(data[place : place + 4])
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        if kind == b"IDAT":
            pixels += body
        elif kind in (b"zTXt", b"iTXt", b"iCCP"):
            packed = body[body.index(b"\x78") :] if b"\x78" in body else b""
            yield zlib.decompressobj().decompress(packed) if packed else body
        if kind == b"IEND":
            break
        place += 12 + length
    if pixels:
        yield zlib.decompress(pixels)


def traces(data: bytes) -> set[str]:
    """Which planted words stand in a file, in one or two bytes a letter."""
    return {
        word
        for part in contents(data)
        for word in PLANTED
        if word.lower().encode() in part.lower() or word.lower().encode("utf-16-le") in part.lower()
    }


def test_the_search_finds_what_is_hidden_in_a_picture_in_a_page() -> None:
    text = PngInfo()
    text.add_text("Comment", f"of {NAME}, born {BIRTH}", zip=True)
    picture = BytesIO()
    Image.new("L", (4, 4)).save(picture, "PNG", pnginfo=text)
    assert NAME.encode() not in picture.getvalue()
    page = b'<img src="data:image/png;base64,' + base64.b64encode(picture.getvalue()) + b'">'
    assert traces(page) == {NAME, BIRTH}
    assert traces(KEY.lower().encode("utf-16-le")) == {KEY}
    assert traces(b"nobody") == set()


def test_no_output_of_a_whole_run_names_a_patient(clinic: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert any(traces(path.read_bytes()) for path in clinic.rglob("*.dcm"))
    api.run(clinic, out=out, preset="demo", settings=Settings.model_validate(TINY))
    written = [path for path in out.rglob("*") if path.is_file()]
    assert {"report.html", "audit.html", "manifest.csv", "predictions.csv"} <= {
        path.name for path in written
    }
    assert {path.name: found for path in written if (found := traces(path.read_bytes()))} == {}
    assert not any(traces(str(path.relative_to(out)).encode()) for path in written)


def test_patients_are_told_apart_by_hashes_and_frames_of_a_clip_stay_together(
    clinic: Path, tmp_path: Path
) -> None:
    api.audit(clinic, out=tmp_path / "run", clean_marks=True)
    with (tmp_path / "run" / "manifest.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    with (tmp_path / "run" / "groups.csv").open(newline="") as handle:
        group = {row["id"]: row["group"] for row in csv.DictReader(handle)}
    assert all(re.fullmatch(r"p[0-9a-f]{16}", row["patient"]) for row in rows)
    clips = [row for row in rows if int(row["frame"]) > 0]
    assert len(clips) == 6
    of_file = {path: {group[r["id"]] for r in rows if r["path"] == path} for path in
               {row["path"] for row in clips}}  # fmt: skip
    assert all(len(groups) == 1 for groups in of_file.values())
