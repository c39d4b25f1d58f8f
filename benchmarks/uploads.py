"""What is sent to a service under test: good images, and a seeded corpus of hostile files."""

from __future__ import annotations

import io
import random
import zipfile

import numpy as np
import pydicom
from PIL import Image

from sonobalance.data.phantoms.generator import KINDS, phantom
from sonobalance.randomness import numpy_generator

MALFORMED = 400


def phantoms(count: int) -> list[bytes]:
    out = []
    for i in range(count):
        image, _ = phantom(KINDS[i % 3], numpy_generator(0, "load", i), 256)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, ("PNG", "JPEG", "TIFF")[i % 3])
        out.append(buffer.getvalue())
    return out


def dicom() -> bytes:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = pydicom.uid.UltrasoundImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = pydicom.Dataset()
    data.file_meta, data.SOPClassUID = meta, meta.MediaStorageSOPClassUID
    data.SOPInstanceUID, data.Modality, data.PatientID = "1.2.3", "US", "P1"
    data.Rows, data.Columns, data.SamplesPerPixel = 64, 80, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 8, 8, 7
    data.PixelData = np.random.default_rng(0).integers(0, 256, (64, 80), np.uint8).tobytes()
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, data, enforce_file_format=True)
    return buffer.getvalue()


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("../../etc/passwd", b"x" * 4096)
        made.writestr("bomb", bytes(2**22))
    return buffer.getvalue()


def bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(buffer, "PNG")
    return buffer.getvalue()


def damaged(whole: bytes, rng: random.Random) -> bytes:
    data = bytearray(whole)
    for _ in range(rng.randint(1, 20)):
        kind, at = rng.randrange(4), rng.randrange(max(1, len(data)))
        if kind == 0 and data:
            data[at] = rng.randrange(256)
        elif kind == 1:
            del data[at : at + rng.randint(1, 200)]
        elif kind == 2:
            data[at : at + 4] = rng.choice([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff"])
        else:
            data = data[:at] + data[at : at + 100] * rng.randint(2, 20) + data[at:]
    return bytes(data)


def corpus(good: list[bytes]) -> list[bytes]:
    rng = random.Random(0)
    whole = [*good[:6], dicom(), archive(), bomb()]
    fixed = [b"", b"\0" * 1000, archive(), bomb(), bytes(128) + b"DICM", dicom()[:300], b"GIF89a",
             b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"II*\0" + b"\xff" * 64]  # fmt: skip
    return fixed + [damaged(rng.choice(whole), rng) for _ in range(MALFORMED - len(fixed))]
