"""DICOM ultrasound: stills and cine loops to 8-bit arrays, and nothing that identifies anyone.

Tags are used in memory only. The patient becomes a keyed hash (`pseudonym`); the key is the
environment variable `SONOBALANCE_PATIENT_KEY` or, without it, a digest of the first DICOM file,
so that a repeated run gives the same manifest and nobody without the files can undo the hash.
Messages never quote a tag.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.data.patients import Words, holds, identifying_words, known
from sonobalance.data.raster import (
    Pixels,
    Shape,
    Source,
    Upload,
    check_file,
    check_pixels,
    to_8_bit,
    translated,
)
from sonobalance.errors import InputError

if TYPE_CHECKING:
    from pydicom import Dataset

SUFFIXES = frozenset((".dcm", ".dicom", ".ima"))
DEFLATED = "1.2.840.10008.1.2.1.99"
FILE_META_GROUP = 2
MAGIC = b"DICM"
CENTIMETRES = 3  # Physical Units code, PS3.3 C.8.5.5.1.15


@dataclass(frozen=True)
class Tags:
    """What the index needs of a DICOM header.

    Attributes:
        patient: what tells patients apart; identifying, only ever hashed.
        identifying: what names the patient and may not stand in a path, each in lower-case words.
        burnt_in: whether the file says that annotation is burnt into its pixels.
        mm_per_px: size of a pixel from the region calibration, mm; 0 where unknown.
        device: maker and model of the scanner; empty where unknown or where it names the patient.
    """

    patient: str
    identifying: frozenset[Words]
    burnt_in: bool
    mm_per_px: float
    device: str


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its suffix or, for others than known ones, by its magic."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return True
    if (suffix and not suffix[1:].isdigit()) or path.name.upper() == "DICOMDIR":
        return False
    try:
        if not path.is_file():  # a pipe would block
            return False
        with path.open("rb") as handle:
            return handle.read(132)[128:] == MAGIC
    except OSError:
        return False


def shape_of(path: Source, max_megapixels: float) -> Shape:
    """Size and frame count from the header; raises as `raster.shape_of`."""
    return _shape(_header(path), path, max_megapixels)


def decode(path: Source, frame: int, max_megapixels: float) -> Pixels:
    """Decode one frame to (H, W) grey or (H, W, 3) RGB uint8.

    MONOCHROME1 and 2 go through rescale and the first window where there is one (PS3.3
    C.11.2.1.2), otherwise from the full range of the stored bits to [0, 255]; palettes and YBR
    become RGB.

    Raises:
        InputError: pydicom is missing, or the file is damaged, too large, or has fewer frames.
    """
    shape = shape_of(path, max_megapixels)
    if frame >= shape.frames:
        raise InputError(f"Expected a frame {frame} in {path}, but it has {shape.frames}.")
    with translated(path):
        from pydicom.pixels import apply_color_lut, pixel_array  # noqa: PLC0415 - an extra

        check_file(path)
        dataset = _pydicom().dcmread(path, force=True)
        _check_compression(dataset, path)
        values = pixel_array(dataset, index=frame)
        kind = dataset.PhotometricInterpretation
        if kind == "PALETTE COLOR":
            colours = apply_color_lut(values, dataset)
            return _scaled(colours, 8 * colours.itemsize)
        if kind.startswith("MONOCHROME"):
            return _grey(values, dataset, path)
        return _scaled(values, int(dataset.BitsStored))


def read_tags(path: Source) -> Tags:
    """Read what the index needs; raises as `decode`."""
    header = _header(path)
    with translated(path):
        name, key, birth, study = (
            known(str(header.get(tag) or "").strip())
            for tag in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID")
        )
        burnt_in = str(header.get("BurnedInAnnotation") or "").upper() == "YES"
        removed = str(header.get("PatientIdentityRemoved") or "").upper() == "YES"
        words = frozenset() if removed else identifying_words(name, key, birth)
        device = _device(header, identifying_words(name, key, birth))
        return Tags(key or f"{name}{birth}" or study, words, burnt_in, _mm_per_px(header), device)


def names_patient(path: str, tags: Tags) -> bool:
    """Whether a path holds what identifies the patient, however its words are set apart."""
    return holds(path, tags.identifying)


def _device(header: Dataset, identifying: frozenset[Words]) -> str:
    """Maker and model; these tags name no person, and are not kept where they do."""
    parts = (str(header.get(t) or "").strip() for t in ("Manufacturer", "ManufacturerModelName"))
    device = " ".join(part for part in parts if part)
    return "" if holds(device, identifying) else device


def _pydicom() -> Any:
    try:
        import pydicom  # noqa: PLC0415 - an extra
    except ImportError:
        raise InputError(
            "Expected pydicom to read DICOM files, but it is not installed; "
            "install sonobalance[dicom]."
        ) from None
    return pydicom


def _header(path: Source) -> Dataset:
    check_file(path)
    pydicom = _pydicom()
    with translated(path):
        if _meta(pydicom, path).get("TransferSyntaxUID") == DEFLATED:
            raise InputError(f"Expected {path} not to be deflated DICOM; export it uncompressed.")
        check_file(path)
        return pydicom.dcmread(path, stop_before_pixels=True, force=True)


def _meta(pydicom: Any, path: Source) -> Any:
    """The file meta information, read without the rest, which may be deflated."""
    if not isinstance(path, Upload):
        return pydicom.filereader.read_file_meta_info(path)
    pydicom.filereader.read_preamble(path, force=False)
    return pydicom.filereader.read_dataset(
        path, is_implicit_VR=False, is_little_endian=True,
        stop_when=lambda tag, _vr, _length: tag.group != FILE_META_GROUP,
    )  # fmt: skip


def _check_compression(header: Dataset, path: Source) -> None:
    """Raise `InputError` when no installed decoder knows how the pixels are compressed."""
    with translated(path):
        from pydicom.pixels import get_decoder  # noqa: PLC0415 - an extra

        syntax = header.file_meta.TransferSyntaxUID
        if syntax.is_encapsulated and not get_decoder(syntax).is_available:
            raise InputError(
                f"Expected a compression that can be read in {path}, but {syntax.name} needs "
                "another decoder; install pylibjpeg with its plugins or decompress the file."
            )


def _shape(header: Dataset, path: Source, max_megapixels: float) -> Shape:
    if "Rows" not in header or "Columns" not in header:
        raise InputError(f"Expected an image in {path}, but it is DICOM without pixels; remove it.")
    with translated(path):
        frames = int(header.get("NumberOfFrames") or 1)
        width, height = int(header.Columns), int(header.Rows)
    check_pixels(path, width, height, max_megapixels)
    return Shape(width, height, max(frames, 1))


def _grey(values: NDArray[np.generic], dataset: Dataset, path: Source) -> Pixels:
    if np.issubdtype(values.dtype, np.floating):
        return to_8_bit(values, path)
    bits, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    slope = float(dataset.get("RescaleSlope") or 1)  # tags may be there and empty
    intercept = float(dataset.get("RescaleIntercept") or 0)
    low, high = low * slope + intercept, high * slope + intercept
    if _has(dataset, "WindowCenter") and _has(dataset, "WindowWidth"):
        centre, width = _first(dataset.WindowCenter), max(_first(dataset.WindowWidth), 1 + 1e-6)
        low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
    unit = (values.astype(np.float32) * slope + intercept - low) / (high - low)
    unit = 1 - unit if dataset.PhotometricInterpretation == "MONOCHROME1" else unit
    return np.rint(unit.clip(0, 1) * 255).astype(np.uint8)


def _scaled(colours: NDArray[np.generic], bits: int) -> Pixels:
    if bits == 8:
        return colours.astype(np.uint8)
    unit = colours.astype(np.float32) / (2**bits - 1)
    return np.rint(unit.clip(0, 1) * 255).astype(np.uint8)


def _has(dataset: Dataset, tag: str) -> bool:
    """Whether a tag is there and not empty."""
    return dataset.get(tag) not in (None, "", [])


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__len__") else value)


def _mm_per_px(header: Dataset) -> float:
    for region in header.get("SequenceOfUltrasoundRegions") or ():
        units = region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")
        if units == (CENTIMETRES, CENTIMETRES) and region.get("PhysicalDeltaY"):
            return _finite(abs(float(region.PhysicalDeltaY)) * 10)
    spacing = header.get("PixelSpacing")
    return _finite(float(spacing[0])) if spacing else 0.0


def _finite(value: float) -> float:
    return round(value, 6) if math.isfinite(value) else 0.0
