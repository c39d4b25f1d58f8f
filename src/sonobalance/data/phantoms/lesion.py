"""Lesions: the signs a radiologist reads (BI-RADS lexicon), drawn around one degree of suspicion.

A benign lesion is typically smooth, wider than tall, with a thin capsule and enhancement behind
it; a malignant one irregular or spiculated, taller than wide, with a shadow. Real lesions carry a
mixture, so every sign is drawn around a `suspicion` in [0, 1] whose distributions for the two
classes overlap: some benign phantoms look malignant and the reverse.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sonobalance.data.phantoms.acoustics import Map

SUSPICION = {"benign": (2, 6.5), "malignant": (6.5, 2)}  # parameters of the Beta distribution
ANGLES = 1441  # directions in which the outline is computed: every quarter of a degree


@dataclass(frozen=True)
class Lesion:
    """One lesion in one view.

    Attributes:
        x, y: centre, as fractions of the image's width and depth.
        width_mm: diameter along the skin.
        aspect: height over width; above 1 is taller than wide.
        tilt: rotation in radians.
        waves: (K, 2) amplitude and phase of the margin's harmonics 2, 3, ..., K + 1.
        spicules: (S, 3) direction in radians, angular half-width, length relative to the radius.
        echo_db: mean echo inside, relative to glandular tissue.
        texture_db: standard deviation of the echo inside.
        capsule_db: echo of the thin capsule, relative to glandular tissue.
        halo_db: extra echo of the thick rim around the lesion.
        attenuation_db_per_mm: loss inside in excess of the surroundings; negative enhances.
        margin_mm: width of the transition between inside and outside.
        calcifications: bright points inside.
    """

    x: float
    y: float
    width_mm: float
    aspect: float
    tilt: float
    waves: NDArray[np.float64]
    spicules: NDArray[np.float64]
    echo_db: float
    texture_db: float
    capsule_db: float
    halo_db: float
    attenuation_db_per_mm: float
    margin_mm: float
    calcifications: int


def draw_lesion(kind: str, rng: np.random.Generator) -> Lesion:
    """A lesion of class `benign` or `malignant`."""
    suspicion = rng.beta(*SUSPICION[kind])
    malign = max(0.0, suspicion - 0.5)
    orders = np.arange(2, 10)
    roughness = abs(rng.normal(0.05 + 0.07 * suspicion, 0.03))
    amplitudes = roughness * rng.normal(size=orders.size) * (2 / orders) ** (2.2 - 1.6 * suspicion)
    count = rng.poisson(14 * malign)
    return Lesion(
        x=rng.uniform(0.3, 0.7),
        y=rng.uniform(0.32, 0.52),
        width_mm=float(np.clip(rng.lognormal(np.log(15.5), 0.27), 8, 26)),
        aspect=float(np.clip(np.exp(rng.normal(-0.72 + 0.95 * suspicion, 0.22)), 0.38, 1.5)),
        tilt=rng.normal(0, 0.2),
        waves=np.stack([amplitudes, rng.uniform(0, 2 * np.pi, orders.size)], axis=1),
        spicules=np.stack([
            rng.uniform(0, 2 * np.pi, count), rng.uniform(0.06, 0.18, count),
            rng.uniform(0.15, 0.6, count),
        ], axis=1),
        echo_db=rng.normal(-23, 3),
        texture_db=rng.uniform(0.5, 1.5 + 3 * suspicion),
        capsule_db=rng.normal(3 - 14 * suspicion, 4),
        halo_db=rng.uniform(0, 6) * suspicion,
        attenuation_db_per_mm=rng.normal(-0.55 + 1.6 * suspicion, 0.35),
        margin_mm=rng.uniform(0.15, 0.3 + 1.6 * suspicion),
        calcifications=int(rng.poisson(6 * malign)),
    )  # fmt: skip


def other_view(lesion: Lesion, rng: np.random.Generator) -> Lesion:
    """The same lesion cut by another plane: place, size, outline and shadow change a little."""
    return replace(
        lesion,
        x=float(np.clip(lesion.x + rng.normal(0, 0.08), 0.25, 0.75)),
        y=float(np.clip(lesion.y + rng.normal(0, 0.03), 0.3, 0.55)),
        width_mm=lesion.width_mm * rng.uniform(0.85, 1.15),
        aspect=lesion.aspect * rng.uniform(0.88, 1.12),
        tilt=lesion.tilt + rng.normal(0, 0.15),
        waves=lesion.waves + rng.normal(0, [0.008, 0.5], lesion.waves.shape),
        attenuation_db_per_mm=lesion.attenuation_db_per_mm + rng.normal(0, 0.08),
    )


def signed_distance(lesion: Lesion, x_mm: Map, y_mm: Map, extent_mm: tuple[float, float]) -> Map:
    """Distance to the lesion's outline along rays from its centre, mm, negative inside: (H, W).

    Args:
        lesion: the lesion.
        x_mm: (1, W) positions of the columns.
        y_mm: (H, 1) positions of the rows.
        extent_mm: depth and width of the image.
    """
    dx, dy = x_mm - lesion.x * extent_mm[1], y_mm - lesion.y * extent_mm[0]
    along = dx * np.cos(lesion.tilt) + dy * np.sin(lesion.tilt)
    across = (dy * np.cos(lesion.tilt) - dx * np.sin(lesion.tilt)) / lesion.aspect
    angle = np.arctan2(across, along)
    table = np.linspace(-np.pi, np.pi, ANGLES)
    outline = np.interp(angle, table, radius(lesion, table))
    distance = np.hypot(along, across) / outline - 1
    signed: Map = (distance * outline * min(1.0, lesion.aspect)).astype(np.float32)
    return signed


def radius(lesion: Lesion, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Radius of the outline at each angle (radians), mm, along the lesion's width: (n,)."""
    shape = np.ones_like(angle)
    for order, (size, phase) in enumerate(lesion.waves, start=2):
        shape += size * np.cos(order * angle + phase)
    for direction, half_width, length in lesion.spicules:
        off = np.abs(np.angle(np.exp(1j * (angle - direction)))) / half_width
        shape += length * np.maximum(0, 1 - off) ** 1.5
    outline: NDArray[np.float64] = lesion.width_mm / 2 * np.maximum(shape, 0.4)
    return outline
