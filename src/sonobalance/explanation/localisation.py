"""Does a map lie on the lesion more than chance would? One function per score, for one image.

Maps are (H, W) float32, signed; regions are (H, W) bool. Energy scores look at the positive
evidence only. Each score comes with the value that a map without knowledge would reach.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Region = NDArray[np.bool_]
BORDER_SHARE = 0.05


class Regions(NamedTuple):
    """What is known about where things are in one image; None where nothing is.

    Attributes:
        lesion: (H, W) bool.
        marks: (H, W) bool, burnt-in calipers and text.
    """

    lesion: Region | None = None
    marks: Region | None = None


class Scored(NamedTuple):
    """A score and what chance would give."""

    value: float
    chance: float


@dataclass(frozen=True)
class Score:
    """One localisation score.

    Attributes:
        name: key in `explanation.json`.
        function: (map, region) → value and chance.
        of: the region it needs: "lesion", "marks", or "image" for every image.
        higher_is_better: direction; None where the score describes and does not judge.
        sentence: what it means in plain words.
    """

    name: str
    function: Callable[[Map, Region], Scored]
    of: str
    higher_is_better: bool | None
    sentence: str


def pointing_game(map_: Map, lesion: Region) -> Scored:
    """Whether the map's peak is in the lesion (Zhang et al. 2018, section 4.2).

    Equal peaks share the point, so that a flat map scores exactly chance.
    """
    return Scored(float(lesion[map_ == map_.max()].mean()), float(lesion.mean()))


def energy(map_: Map, region: Region) -> Scored:
    """Share of the positive evidence inside a region (Wang et al. 2020, equation 5).

    A flat map says nothing and scores chance; a map of evidence against the class alone scores 0.
    """
    if map_.min() == map_.max():
        return Scored(float(region.mean()), float(region.mean()))
    positive = np.maximum(map_, 0, dtype=np.float64)
    total = positive.sum()
    inside = positive[region].sum() / total if total > 0 else 0.0
    return Scored(float(inside), float(region.mean()))


def iou(map_: Map, lesion: Region) -> Scored:
    """Overlap of the lesion with the map's highest pixels, as many as the lesion has.

    Pixels that tie for the last places count in proportion. Chance is a / (2 - a) at a lesion's
    share a of the image.
    """
    k, share = int(lesion.sum()), float(lesion.mean())
    cut = np.partition(map_, -k, axis=None)[-k]
    above, ties = map_ > cut, map_ == cut
    shared = lesion[above].sum() + (k - above.sum()) * lesion[ties].mean()
    return Scored(float(shared / (2 * k - shared)), share / (2 - share))


def band_below(lesion: Region) -> Region:
    """The region below the lesion, column by column, as deep as the lesion is high.

    Shadow and enhancement behind a lesion lie there and are legitimate evidence.
    """
    height = len(lesion)
    rows = np.flatnonzero(lesion.any(1))
    columns = lesion.any(0)
    bottom = np.where(columns, height - 1 - lesion[::-1].argmax(0), height)
    row = np.arange(height)[:, None]
    return np.asarray((row > bottom) & (row <= bottom + rows[-1] - rows[0] + 1) & columns)


def below(map_: Map, lesion: Region) -> Scored:
    """Share of the positive evidence in the band below the lesion."""
    return energy(map_, band_below(lesion))


def border(map_: Map, image: Region) -> Scored:
    """Share of the positive evidence on the outer 5 % of the image's sides."""
    region = image.copy()
    rows, columns = (max(1, round(BORDER_SHARE * side)) for side in map_.shape)
    region[rows:-rows, columns:-columns] = False
    return energy(map_, region)


SCORES = (
    Score(
        "pointing_game", pointing_game, "lesion", True,
        "Share of images whose peak is in the lesion.",
    ),
    Score(
        "energy", energy, "lesion", True, "Share of the positive evidence that lies in the lesion."
    ),
    Score("iou", iou, "lesion", True, "Overlap of lesion and map at equal area."),
    Score(
        "below", below, "lesion", None,
        "Share of the positive evidence in the band below the lesion (shadow, enhancement).",
    ),
    Score(
        "border", border, "image", False,
        "Share of the positive evidence on the outer 5 % of the image's sides.",
    ),
    Score(
        "marks", energy, "marks", False,
        "Share of the positive evidence on burnt-in marks, where the audit found any.",
    ),
)  # fmt: skip


def scores_of(map_: Map, regions: Regions) -> dict[str, Scored]:
    """Every score that the known regions allow, by name."""
    known = {"image": np.ones(map_.shape, np.bool_), **regions._asdict()}
    return {s.name: s.function(map_, known[s.of]) for s in SCORES if known[s.of] is not None}


RATIO = "energy_ratio"
RATIO_SENTENCE = "Mean evidence in the lesion over the mean lesion area: 1 = chance."


def centre_map(height: int, width: int) -> Map:
    """A control that knows nothing but that lesions tend to be central: a centred Gaussian."""
    y = (np.arange(height) - (height - 1) / 2) / height
    x = (np.arange(width) - (width - 1) / 2) / width
    distance = y[:, None] ** 2 + x[None] ** 2
    return np.asarray(np.exp(-distance / (2 * 0.2**2)), np.float32)


def random_map(
    height: int, width: int, generator: np.random.Generator, cells: tuple[int, int] = (7, 7)
) -> Map:
    """A control that knows nothing: Gaussian noise as coarse as a class activation map.

    Every pixel has variance 1, so that no place is favoured.
    """
    coarse = generator.standard_normal(cells)
    smooth = _between(cells[0], height) @ coarse @ _between(cells[1], width).T
    return np.asarray(smooth, np.float32)


def _between(cells: int, length: int) -> NDArray[np.float64]:
    """(length, cells) weights of linear interpolation, each row of norm 1."""
    weights = cv2.resize(np.eye(cells), (cells, length), interpolation=cv2.INTER_LINEAR)
    unit: NDArray[np.float64] = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return unit
