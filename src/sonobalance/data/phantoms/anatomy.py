"""A breast in cross-section: skin, fat lobules, glandular tissue and muscle, and maybe a lesion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sonobalance.data.phantoms.acoustics import Map, Tissue, amplitude, smooth_field
from sonobalance.data.phantoms.lesion import Lesion, signed_distance


@dataclass(frozen=True)
class Breast:
    """What all views of one patient share. Echo levels are relative to glandular tissue.

    Attributes:
        depth_mm: depth of the image.
        skin_mm: thickness of the skin.
        fat_share, gland_share: lower borders of fat and gland, as shares of the depth.
        waviness_mm: undulation of the borders.
        slope: tilt of the muscle, mm per mm.
        fat_db, gland_db, muscle_db: mean echo of the tissues.
        gland_texture_db: variation of the echo in the gland (ducts and lobules).
        septa_db: echo of the septa between the lobules.
        lobule_mm: length of the lobules along the skin.
        attenuation_db_per_mm: mean one-way loss.
        patchiness: relative variation of the loss, which makes faint shadows everywhere.
    """

    depth_mm: float
    skin_mm: float
    fat_share: float
    gland_share: float
    waviness_mm: float
    slope: float
    fat_db: float
    gland_db: float
    muscle_db: float
    gland_texture_db: float
    septa_db: float
    lobule_mm: float
    attenuation_db_per_mm: float
    patchiness: float


def draw_breast(rng: np.random.Generator) -> Breast:
    """A patient's breast."""
    fat_share = rng.uniform(0.12, 0.36)
    return Breast(
        depth_mm=rng.uniform(28, 44),
        skin_mm=rng.uniform(1.2, 2.4),
        fat_share=fat_share,
        gland_share=fat_share + rng.uniform(0.3, 0.5),
        waviness_mm=rng.uniform(0.6, 2.0),
        slope=rng.normal(0, 0.06),
        fat_db=rng.normal(-13, 2),
        gland_db=rng.normal(-4, 2),
        muscle_db=rng.normal(-13, 2.5),
        gland_texture_db=rng.uniform(1.5, 4.5),
        septa_db=rng.uniform(-3, 6),
        lobule_mm=rng.uniform(4, 10),
        attenuation_db_per_mm=rng.uniform(0.45, 0.65),
        patchiness=rng.uniform(0.05, 0.25),
    )


def cross_section(
    breast: Breast, lesion: Lesion | None, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Tissue, Map]:
    """Tissue maps of one view and the signed distance to the lesion, mm (inf without one)."""
    tissue = layers(breast, shape, rng)
    if lesion is None:
        return tissue, np.full(shape, np.inf, np.float32)
    mm = tissue.mm_per_px
    y_mm = np.arange(shape[0], dtype=np.float32)[:, None] * mm
    x_mm = np.arange(shape[1], dtype=np.float32)[None, :] * mm
    distance = signed_distance(lesion, x_mm, y_mm, (shape[0] * mm, shape[1] * mm))
    return insert(tissue, lesion, distance, rng), distance


def layers(breast: Breast, shape: tuple[int, int], rng: np.random.Generator) -> Tissue:
    """Normal tissue: (H, W) maps."""
    mm = breast.depth_mm / shape[0]
    y_mm = np.arange(shape[0], dtype=np.float32)[:, None] * mm
    tilt_mm = breast.slope * (np.arange(shape[1], dtype=np.float32)[None, :] - shape[1] / 2) * mm
    fat_end = border(breast.fat_share * breast.depth_mm, breast, shape, mm, rng)
    gland_end = border(breast.gland_share * breast.depth_mm, breast, shape, mm, rng) + tilt_mm
    in_skin = step(breast.skin_mm - y_mm)
    in_fat, in_muscle = step(fat_end - y_mm) * (1 - in_skin), step(y_mm - gland_end)
    in_gland = np.clip(1 - in_skin - in_fat - in_muscle, 0, 1)
    mottle = smooth_field(shape, 1.0 / mm, 2.2 / mm, rng)
    level_db = (
        in_skin * 1.0
        + in_fat * (breast.fat_db + 1.5 * mottle)
        + in_gland * (breast.gland_db - 3 + breast.gland_texture_db * mottle)
        + in_muscle * (breast.muscle_db + 2 * mottle)
    )
    echo_db = breast.septa_db + 3 * smooth_field(shape, 3 / mm, 6 / mm, rng)
    sheet = (
        (in_fat + 0.5 * in_gland) * sheets(shape, (1.6, breast.lobule_mm), mm, rng)
        + (0.5 * in_fat + 0.7 * in_gland) * sheets(shape, (0.8, breast.lobule_mm / 2), mm, rng)
        + 0.9 * in_muscle * sheets(shape, (0.7, 12), mm, rng)
        + 0.8 * interface(y_mm - gland_end, shape, mm, rng)
        + 0.5 * interface(y_mm - breast.skin_mm, shape, mm, rng)
    )
    patches = 1 + breast.patchiness * smooth_field(shape, 4 / mm, 1.5 / mm, rng)
    return Tissue(
        scatter=amplitude(level_db) + 1.5 * amplitude(echo_db) * sheet,
        specular=0.2 * amplitude(echo_db) * sheet,
        attenuation=breast.attenuation_db_per_mm * np.maximum(patches, 0).astype(np.float32),
        mm_per_px=mm,
    )


def interface(distance_mm: Map, shape: tuple[int, int], mm: float, rng: np.random.Generator) -> Map:
    """A broken bright line where `distance_mm` is zero: (H, W)."""
    strength = np.clip(0.5 + 0.6 * smooth_field((1, shape[1]), 1, 4 / mm, rng), 0, 2)
    line: Map = strength * np.exp(-((distance_mm / 0.25) ** 2))
    return line


def insert(tissue: Tissue, lesion: Lesion, distance: Map, rng: np.random.Generator) -> Tissue:
    """Replace the tissue inside the lesion, and add its capsule, halo and calcifications."""
    mm, shape = tissue.mm_per_px, distance.shape
    inside = step(-distance, lesion.margin_mm)
    texture = smooth_field(shape, 1.2 / mm, 1.6 / mm, rng)
    content = amplitude(lesion.echo_db + lesion.texture_db * texture)
    halo = np.exp(-((np.maximum(distance - 0.8, 0) / 1.2) ** 2)) * (1 - inside)
    around = tissue.scatter * amplitude(lesion.halo_db * halo)
    down, across = np.gradient(distance)
    facing = 0.15 + 0.85 * down**2 / (down**2 + across**2 + 1e-6)
    capsule = amplitude(lesion.capsule_db) * facing * np.exp(-(((distance - 0.2) / 0.2) ** 2))
    points = calcifications(distance, lesion.calcifications, rng)
    return Tissue(
        scatter=around * (1 - inside) + content * inside + capsule,
        specular=tissue.specular * (1 - inside) + 0.15 * capsule + points,
        attenuation=tissue.attenuation + lesion.attenuation_db_per_mm * inside,
        mm_per_px=mm,
    )


def calcifications(distance: Map, count: int, rng: np.random.Generator) -> Map:
    """Single bright pixels inside the lesion: (H, W) amplitude."""
    points = np.zeros_like(distance)
    rows, columns = np.nonzero(distance < -1)
    if rows.size:
        chosen = rng.integers(rows.size, size=count)
        points[rows[chosen], columns[chosen]] = rng.uniform(1, 3, count)
    return points


def border(
    depth_mm: float, breast: Breast, shape: tuple[int, int], mm: float, rng: np.random.Generator
) -> Map:
    """An undulating border between two layers: depth in mm of each column, (1, W)."""
    waves = smooth_field((1, shape[1]), 1, 8 / mm, rng) + 0.4 * smooth_field(
        (1, shape[1]), 1, 2.5 / mm, rng
    )
    undulating: Map = np.float32(depth_mm) + np.float32(breast.waviness_mm) * waves
    return undulating


def sheets(
    shape: tuple[int, int], lobule_mm: tuple[float, float], mm: float, rng: np.random.Generator
) -> Map:
    """Thin curved sheets that enclose flat lobules, brightest where they face the beam: (H, W).

    A sheet is the zero level of a random field, 0.15 mm thick; a specular echo falls with the
    angle between its normal and the beam, here as cos² (Lambert's law for a rough interface).
    """
    field = smooth_field(shape, lobule_mm[0] / mm, lobule_mm[1] / mm, rng)
    down, across = np.gradient(field)
    steepness = np.hypot(down, across) + 1e-6
    facing = (down / steepness) ** 2
    strength = np.clip(0.6 + 0.7 * smooth_field(shape, 2 / mm, 3 / mm, rng), 0, 2)
    sheet: Map = np.exp(-((field / steepness * mm / 0.15) ** 2)) * facing * strength
    return sheet


def step(signed_mm: Map, width_mm: float = 0.3) -> Map:
    """Smooth step from 0 (negative) to 1 (positive) over about `width_mm`."""
    rise: Map = 0.5 * (1 + np.tanh(signed_mm / width_mm))
    return rise
