"""One look at every image: its marks, its quality, its features."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from sonobalance.config import AuditSettings
from sonobalance.data.audit.features import Features, describe
from sonobalance.data.audit.marks import Mark, find_marks
from sonobalance.data.audit.quality import Quality, measure
from sonobalance.data.audit.workers import on_each
from sonobalance.data.images import read_color
from sonobalance.data.manifest import Manifest, Record
from sonobalance.errors import InputError


@dataclass(frozen=True, slots=True)
class Look:
    """What one image showed.

    Attributes:
        marks: burnt-in marks.
        quality: size, brightness and borders; None when the image could not be read.
        features: for the search of near-duplicates; None when not asked for or not readable.
        trouble: why the image could not be read, or empty.
    """

    marks: tuple[Mark, ...] = ()
    quality: Quality | None = None
    features: Features | None = None
    trouble: str = ""


def look_at_all(manifest: Manifest, settings: AuditSettings) -> list[Look]:
    """Look at every image, in the manifest's order, with `settings.workers` threads."""

    def look(record: Record) -> Look:
        return look_at(manifest, record, settings)

    return on_each(look, manifest.records, settings.workers, "look at images")


def look_at(manifest: Manifest, record: Record, settings: AuditSettings) -> Look:
    """Look at one image."""
    try:
        image = read_color(manifest.file(record), record.frame)
    except InputError as error:
        return Look(trouble=str(error))
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    marks = find_marks(image)
    features = None
    if settings.near_duplicates:
        features = describe(gray, marks.pixels, settings.working_side_px, settings.keypoints)
    return Look(marks.found if settings.marks else (), measure(gray), features)
