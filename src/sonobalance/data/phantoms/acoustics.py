"""B-mode physics: from maps of tissue to an image, by the convolution model of speckle.

A pulse-echo image is the envelope of point scatterers convolved with the system's point-spread
function (Bamber & Dickinson 1980, Phys Med Biol 25:463, eq. 1); with many scatterers per
resolution cell the envelope is Rayleigh-distributed speckle (Burckhardt 1978; Wagner et al. 1983).
Echoes from depth z are weakened by twice the attenuation integrated along the beam. The scanner
lifts them by a time-gain compensation (TGC) made for average tissue, so a lesion that attenuates
more than average casts a shadow and one that attenuates less shows posterior enhancement.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Tissue:
    """What the beam meets.

    Attributes:
        scatter: (H, W) float32, amplitude of the diffuse scatterers, linear, 1 = reference.
        specular: (H, W) float32, amplitude of coherent echoes from interfaces, linear.
        attenuation: (H, W) float32, one-way loss in dB per mm at the scanner's frequency.
        mm_per_px: side of one pixel of the maps.
    """

    scatter: Map
    specular: Map
    attenuation: Map
    mm_per_px: float


@dataclass(frozen=True)
class Scanner:
    """The transducer and the settings of the machine.

    Attributes:
        pulse_mm: axial standard deviation of the pulse.
        beam_mm: lateral standard deviation of the beam at its focus.
        focus_mm: depth of the focus.
        focal_zone_mm: distance from the focus at which the beam is √2 wider.
        looks: independent frames averaged by compounding.
        tgc_db_per_mm: one-way loss that the machine compensates.
        gain_db: overall gain.
        dynamic_range_db: range of echoes shown between black and white.
        noise_db: electronic noise before TGC, relative to the reference amplitude.
        gamma: exponent of the grey map.
    """

    pulse_mm: float
    beam_mm: float
    focus_mm: float
    focal_zone_mm: float
    looks: int
    tgc_db_per_mm: float
    gain_db: float
    dynamic_range_db: float
    noise_db: float
    gamma: float


def scan(tissue: Tissue, scanner: Scanner, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Image the tissue: (H, W) uint8 grey values."""
    frames = [envelope(tissue, scanner, rng) for _ in range(scanner.looks)]
    return compress(np.mean(frames, axis=0), scanner)


def envelope(tissue: Tissue, scanner: Scanner, rng: np.random.Generator) -> Map:
    """Echo amplitude |PSF ∗ (scatterers · transmission)| after TGC: (H, W) float32, linear."""
    shape = tissue.scatter.shape
    echoes = complex_noise(shape, rng) * tissue.scatter + tissue.specular
    received = point_spread(echoes * transmission(tissue), tissue.mm_per_px, scanner)
    received += complex_noise(shape, rng) * np.float32(amplitude(scanner.noise_db))
    depth_mm = np.arange(shape[0], dtype=np.float32)[:, None] * tissue.mm_per_px
    lifted: Map = np.abs(received) * amplitude(2 * scanner.tgc_db_per_mm * depth_mm)
    return lifted


def transmission(tissue: Tissue) -> Map:
    """Two-way amplitude left at each point, 10^(-2 ∫ attenuation dz / 20): (H, W) float32."""
    one_way_db = np.cumsum(tissue.attenuation, axis=0) * tissue.mm_per_px
    return amplitude(-2 * one_way_db)


def point_spread(echoes: NDArray[np.complex64], mm_per_px: float, scanner: Scanner) -> NDArray:
    """Convolve with the pulse (axial) and the beam (lateral, wider away from the focus).

    The result is scaled so that unit scatterers keep a mean power of 1. The beam at a depth is
    mixed from a narrow and a three times wider one.
    """
    depth_mm = np.arange(echoes.shape[0], dtype=np.float32)[:, None] * mm_per_px
    off_focus = (depth_mm - scanner.focus_mm) / scanner.focal_zone_mm
    wide = np.clip((np.sqrt(1 + off_focus**2) - 1) / 2, 0, 1)
    narrow_px, pulse_px = scanner.beam_mm / mm_per_px, scanner.pulse_mm / mm_per_px
    axial = unit_power_blur(echoes, pulse_px, axis=0)
    focused = unit_power_blur(axial, narrow_px, axis=1)
    spread = unit_power_blur(axial, 3 * narrow_px, axis=1)
    mixed: NDArray = (1 - wide) * focused + wide * spread
    return mixed


def unit_power_blur(values: NDArray, sigma_px: float, axis: int) -> NDArray:
    """Gaussian blur along one axis that keeps the power of white noise (for sigma ≥ 0.5 px)."""
    sigma = max(sigma_px, 0.5)
    blurred: NDArray = gaussian_filter1d(values, sigma, axis=axis, mode="nearest")
    return blurred * np.float32(np.sqrt(2 * np.sqrt(np.pi) * sigma))


def compress(linear: Map, scanner: Scanner) -> NDArray[np.uint8]:
    """Log compression: `dynamic_range_db` below the reference amplitude is black, 0 dB is white."""
    level_db = 20 * np.log10(np.maximum(linear, 1e-9)) + scanner.gain_db
    shown = np.clip(1 + level_db / scanner.dynamic_range_db, 0, 1) ** scanner.gamma
    return np.round(255 * shown).astype(np.uint8)


def amplitude(level_db: float | Map) -> Map:
    """Decibels to linear amplitude, float32."""
    return np.power(10, np.asarray(level_db, np.float32) / 20, dtype=np.float32)


def complex_noise(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.complex64]:
    """Circular complex Gaussian scatterers with unit mean power."""
    parts = rng.standard_normal((2, *shape), dtype=np.float32) * np.float32(np.sqrt(0.5))
    return parts[0] + 1j * parts[1]


def smooth_field(
    shape: tuple[int, int], axial_px: float, lateral_px: float, rng: np.random.Generator
) -> Map:
    """A Gaussian random field with unit variance and these correlation lengths: (H, W) float32."""
    steps = (max(1.0, axial_px / 2), max(1.0, lateral_px / 2))
    coarse = (int(shape[0] / steps[0]) + 8, int(shape[1] / steps[1]) + 8)
    noise = rng.standard_normal(coarse, dtype=np.float32)
    for axis, length in enumerate((axial_px, lateral_px)):
        noise = unit_power_blur(noise, min(2.0, length), axis)
    inner = noise[4:-4, 4:-4]
    field: Map = cv2.resize(inner, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
    return field
