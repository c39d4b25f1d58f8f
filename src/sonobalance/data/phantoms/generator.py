"""One phantom: a patient is drawn once, every view of the patient is scanned anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.data.phantoms.acoustics import Scanner, scan
from sonobalance.data.phantoms.anatomy import Breast, cross_section, draw_breast
from sonobalance.data.phantoms.lesion import Lesion, draw_lesion, other_view
from sonobalance.errors import InputError

KINDS = ("benign", "malignant", "normal")
OVERSAMPLING = 2


@dataclass(frozen=True)
class Patient:
    """What every view of one patient shares.

    Attributes:
        kind: class name.
        breast: the tissue.
        scanner: the machine and its settings.
        lesion: the lesion; None for `normal`.
        height_factor, width_factor: sides of the image over the nominal size.
    """

    kind: str
    breast: Breast
    scanner: Scanner
    lesion: Lesion | None
    height_factor: float
    width_factor: float


def draw_patient(kind: str, rng: np.random.Generator) -> Patient:
    """A patient of class `benign`, `malignant` or `normal`.

    Raises:
        InputError: there is no such class.
    """
    if kind not in KINDS:
        raise InputError(f"Expected the kind of a phantom to be one of {KINDS}, but got {kind!r}.")
    breast = draw_breast(rng)
    return Patient(
        kind=kind,
        breast=breast,
        scanner=draw_scanner(breast, rng),
        lesion=None if kind == "normal" else draw_lesion(kind, rng),
        height_factor=rng.uniform(0.78, 1.0),
        width_factor=rng.uniform(0.95, 1.15),
    )


def draw_scanner(breast: Breast, rng: np.random.Generator) -> Scanner:
    """A machine whose TGC fits the breast roughly."""
    return Scanner(
        pulse_mm=rng.uniform(0.1, 0.2),
        beam_mm=rng.uniform(0.16, 0.32),
        focus_mm=rng.uniform(0.3, 0.6) * breast.depth_mm,
        focal_zone_mm=rng.uniform(6, 14),
        looks=int(rng.integers(1, 5)),
        tgc_db_per_mm=breast.attenuation_db_per_mm + rng.normal(-0.1, 0.07),
        gain_db=rng.normal(-13, 2.5),
        dynamic_range_db=rng.uniform(42, 62),
        noise_db=rng.uniform(-75, -55),
        gamma=rng.uniform(0.9, 1.4),
    )


def view(
    patient: Patient, rng: np.random.Generator, size_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Scan one view of a patient: image (H, W) uint8 and lesion mask (H, W) bool."""
    height, width = round(size_px * patient.height_factor), round(size_px * patient.width_factor)
    breast = replace(patient.breast, depth_mm=patient.breast.depth_mm * rng.uniform(0.96, 1.04))
    scanner = replace(patient.scanner, gain_db=patient.scanner.gain_db + rng.normal(0, 0.7))
    lesion = patient.lesion and other_view(patient.lesion, rng)
    fine = (OVERSAMPLING * height, OVERSAMPLING * width)
    tissue, distance = cross_section(breast, lesion, fine, rng)
    sharp = scan(tissue, scanner, rng)
    image = cv2.resize(sharp, (width, height), interpolation=cv2.INTER_AREA)
    offset = OVERSAMPLING // 2
    return image, distance[offset::OVERSAMPLING, offset::OVERSAMPLING] < 0


def phantom(
    kind: str, rng: np.random.Generator, size_px: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """One view of one new patient.

    Args:
        kind: `benign`, `malignant` or `normal`.
        rng: source of every random choice.
        size_px: nominal size; the sides are 0.78 to 1.15 times as long.

    Returns:
        Image (H, W) uint8 and lesion mask (H, W) bool, all False for `normal`.

    Raises:
        InputError: there is no such class.
    """
    return view(draw_patient(kind, rng), rng, size_px)
