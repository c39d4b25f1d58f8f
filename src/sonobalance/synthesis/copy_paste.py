"""Lesions of the rarer classes set into the tissue of other images.

Copy-paste augmentation (Dwibedi, Misra & Hebert, ICCV 2017; Ghiasi et al., CVPR 2021; of tumours
Yang et al., "TumorCP", MICCAI 2021): a lesion keeps its looks and gets new surroundings, of which
the frequent classes have plenty. Needs lesion masks, no generator, no training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from sonobalance.data.loading import LabelledImages, Outlines
from sonobalance.gan.framing import find_frames
from sonobalance.randomness import numpy_generator

MOST = 12  # images of one lesion
TRIES = 6  # for each of them
MARGIN = 0.25  # of tissue that goes with a lesion, over the root of its area
FADE = 0.8  # of that margin: over so much more the lesion's image fades out
ZOOM = (0.85, 1.2)
LEAST = 0.001  # share of the image that a lesion must fill
LARGEST_SHIFT = 25.0  # of grey values, to meet the new surroundings
COVERED, REST = 0.7, 0.1  # weight that hides what is below; share of a hidden lesion that may show

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class _Picture:
    """One TRAIN image as planes (S, S): grey values, lesion (0 or 1), and what is not letterbox."""

    grey: Plane
    lesion: Plane
    tissue: Plane

    def mirrored(self) -> _Picture:
        return _Picture(*(np.fliplr(p).copy() for p in (self.grey, self.lesion, self.tissue)))

    def moved(self, zoom: float, to: tuple[float, float]) -> _Picture:
        """Enlarged, and shifted so that the lesion's centre comes to the place (row, column)."""
        row, column = _centre(self.lesion)
        matrix = np.array([[zoom, 0, to[1] - zoom * column], [0, zoom, to[0] - zoom * row]])
        size = self.grey.shape[::-1]
        grey, lesion, tissue = (
            cv2.warpAffine(plane, matrix, size) for plane in (self.grey, self.lesion, self.tissue)
        )
        return _Picture(grey, (lesion > 0.5).astype(np.float32), (tissue > 0.99).astype(np.float32))


def copy_paste(train: LabelledImages, *, seed: int) -> LabelledImages:
    """Images by which classes with lesions come as near as they can to the largest class.

    Every lesion is used about equally often, at most `MOST` times; mirrored at random, a little
    larger or smaller, at the place of the lesion that it covers, or at its own depth. The
    surroundings are of any other class, and only of images whose mask is known, so that no other
    lesion shows.

    Args:
        train: real TRAIN images with outlines.
        seed: of every choice.

    Returns:
        Images of the same size and classes with their outlines; none where no class has both masks
        and fewer images than the largest.
    """
    pictures = _pictures(train)
    counts = torch.bincount(train.targets, minlength=len(train.classes)).tolist()
    made: list[tuple[str, int, Plane, Plane]] = []
    for k, count in enumerate(counts):
        random = numpy_generator(seed, "copy-paste", train.classes[k])
        made += [
            (f"{train.ids[i]} in {train.ids[j]} {n}", k, grey, lesion)
            for n, (i, j, grey, lesion) in enumerate(
                _of_class(k, train, pictures, max(counts) - count, random)
            )
        ]
    size = train.pixels.shape[1:]
    pixels = [torch.from_numpy(grey.round().astype(np.uint8))[None] for _, _, grey, _ in made]
    masks = [torch.from_numpy((255 * lesion).astype(np.uint8))[None] for *_, lesion in made]
    empty = train.pixels.new_zeros((0, *size))
    return LabelledImages(
        torch.stack(pixels) if made else empty,
        torch.tensor([k for _, k, _, _ in made], dtype=torch.int64),
        tuple(name for name, *_ in made),
        train.classes,
        Outlines(torch.stack(masks) if made else empty, torch.ones(len(made), dtype=torch.bool)),
    )


def _pictures(train: LabelledImages) -> list[_Picture]:
    masks = train.known_outlines().masks[:, 0].numpy()
    out = []
    for pixels, mask, (top, bottom, left, right) in zip(
        train.pixels[:, 0].numpy(), masks, find_frames(train.pixels).tolist(), strict=True
    ):
        tissue = np.zeros(pixels.shape, np.float32)
        tissue[top:bottom, left:right] = 1
        lesion = (mask > 127).astype(np.float32)
        out.append(_Picture(pixels.astype(np.float32), lesion, tissue))
    return out


def _of_class(
    k: int,
    train: LabelledImages,
    pictures: list[_Picture],
    wanted: int,
    random: np.random.Generator,
) -> Iterator[tuple[int, int, Plane, Plane]]:
    """Up to `wanted` images: (position of the lesion's image, of the other, grey, lesion)."""
    targets, known = train.targets.numpy(), train.known_outlines().known.numpy()
    lesions = [i for i in np.flatnonzero(targets == k) if pictures[i].lesion.mean() > LEAST]
    others = np.flatnonzero((targets != k) & known)
    if not lesions or not len(others):
        return
    done = 0
    for _ in range(MOST):
        for i in random.permutation(lesions):
            if done == wanted:
                return
            for j in random.choice(others, TRIES):
                found = _set_into(pictures[i], pictures[j], random)
                if found is not None:
                    done += 1
                    yield int(i), int(j), *found
                    break


def _set_into(
    source: _Picture, below: _Picture, random: np.random.Generator
) -> tuple[Plane, Plane] | None:
    """The source's lesion with its margin in the other image; None where they do not fit."""
    source = source.mirrored() if random.random() < 0.5 else source
    side = len(source.grey)
    free = (_centre(source.lesion)[0] + random.normal(0, side / 40), random.normal(0.5, 0.1) * side)
    place = _centre(below.lesion) if below.lesion.any() else free
    above = source.moved(random.uniform(*ZOOM), place)
    weight = _weight(above) * below.tissue
    area = above.lesion.sum()
    if above.lesion.mean() < LEAST or (weight * above.lesion).sum() < (1 - REST) * area:
        return None
    if ((weight < COVERED) * below.lesion).sum() > REST * below.lesion.sum():
        return None
    seam = (weight > 0) & (weight < 1)
    if not seam.any():
        return None
    shift = below.grey[seam].mean() - above.grey[seam].mean()
    grey = weight * (above.grey + np.clip(shift, -LARGEST_SHIFT, LARGEST_SHIFT))
    return np.clip(grey + (1 - weight) * below.grey, 0, 255), above.lesion


def _weight(above: _Picture) -> Plane:
    """1 on the lesion and its margin, from there to 0; towards the edge of its own image, too."""
    away = cv2.distanceTransform((above.lesion == 0).astype(np.uint8), cv2.DIST_L2, 5)
    inside = cv2.distanceTransform(
        np.pad(above.tissue, 1).astype(np.uint8), cv2.DIST_L2, 5
    )[1:-1, 1:-1]  # fmt: skip
    margin = max(len(away) / 40, MARGIN * float(above.lesion.sum()) ** 0.5)
    weight = np.clip(1 - (away - margin) / (FADE * margin), 0, 1)
    return np.asarray(weight * np.clip(inside / (FADE * margin), 0, 1), np.float32)


def _centre(lesion: Plane) -> tuple[float, float]:
    """Row and column of the centre of mass."""
    rows, columns = np.nonzero(lesion)
    return float(rows.mean()), float(columns.mean())
