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

from sonobalance.data.images import Gray
from sonobalance.data.loading import INSIDE, LabelledImages, Outlines
from sonobalance.gan.framing import find_frames
from sonobalance.randomness import numpy_generator

MOST_USES = 12  # images of one lesion
TRIES = 6  # other images for each of them
MARGIN = 0.25  # of tissue that goes with a lesion, over the root of its area
FADE = 0.8  # of that margin: over so much more the lesion's image fades out
ZOOM = (0.85, 1.2)
LEAST_AREA = 0.001  # share of the image that a lesion must fill
LARGEST_SHIFT = 25.0  # of grey values, to meet the new surroundings
HIDDEN = 0.7  # weight that hides what is below
MOST_LEFT = 0.1  # share of the lesion below that may show, and of the one above that may be lost

Plane = NDArray[np.float32]


@dataclass(frozen=True)
class _Picture:
    """One TRAIN image as planes (S, S).

    Attributes:
        grey: values, 0 to 255.
        lesion: 0 or 1.
        depth: pixels from the nearest edge of the image's own contents; 0 outside them.
    """

    grey: Plane
    lesion: Plane
    depth: Plane

    def mirrored(self) -> _Picture:
        return _Picture(*(np.fliplr(p).copy() for p in (self.grey, self.lesion, self.depth)))

    def moved(self, zoom: float, to: tuple[float, float]) -> _Picture:
        """Enlarged, and shifted so that the lesion's centre comes to the place (row, column)."""
        row, column = _centre(self.lesion)
        matrix = np.array([[zoom, 0, to[1] - zoom * column], [0, zoom, to[0] - zoom * row]])
        size = self.grey.shape[::-1]
        grey, lesion, depth = (
            cv2.warpAffine(plane, matrix, size) for plane in (self.grey, self.lesion, self.depth)
        )
        return _Picture(grey, (lesion > 0.5).astype(np.float32), zoom * depth)


def copy_paste(train: LabelledImages, *, seed: int) -> LabelledImages:
    """Images by which classes with lesions come as near as they can to the largest class.

    Every lesion is used about equally often, at most `MOST_USES` times; mirrored at random, a
    little larger or smaller, at the place of the lesion that it covers, or at its own depth. The
    surroundings are of any other class, and only of images whose mask is known, so that no other
    lesion shows.

    Args:
        train: real TRAIN images with outlines.
        seed: of every choice.

    Returns:
        Images of the same size and classes with their outlines; none where no class has both masks
        and fewer images than the largest.
    """
    counts = torch.bincount(train.targets, minlength=len(train.classes)).tolist()
    made: list[tuple[str, int, Gray, Gray]] = []
    for k, count in enumerate(counts):
        random = numpy_generator(seed, "copy-paste", train.classes[k])
        found = enumerate(_of_class(k, train, max(counts) - count, random))
        made += [
            (f"{train.ids[i]} in {train.ids[j]} {n}", k, grey, mask)
            for n, (i, j, grey, mask) in found
        ]
    shape = (len(made), *train.pixels.shape[1:])
    pixels, masks = (
        torch.from_numpy(np.array([row[plane] for row in made], np.uint8).reshape(shape))
        for plane in (2, 3)
    )
    return LabelledImages(
        pixels,
        torch.tensor([k for _, k, _, _ in made], dtype=torch.int64),
        tuple(name for name, *_ in made),
        train.classes,
        Outlines(masks, torch.ones(len(made), dtype=torch.bool)),
    )


def _of_class(
    k: int, train: LabelledImages, wanted: int, random: np.random.Generator
) -> Iterator[tuple[int, int, Gray, Gray]]:
    """Up to `wanted` images: (position of the lesion's image, of the other, grey, mask)."""
    outlines, targets = train.known_outlines(), train.targets.numpy()
    sizes = (outlines.masks > INSIDE).float().mean((1, 2, 3)).numpy()
    lesions = np.flatnonzero((targets == k) & (sizes > LEAST_AREA))
    others = np.flatnonzero((targets != k) & outlines.known.numpy())
    if not len(lesions) or not len(others):
        return
    done = 0
    for _ in range(MOST_USES):
        for i in random.permutation(lesions):
            if done == wanted:
                return
            for j in random.choice(others, TRIES):
                found = _set_into(_picture(train, i), _picture(train, j), random)
                if found is not None:
                    done += 1
                    yield int(i), int(j), *found
                    break


def _picture(train: LabelledImages, i: int) -> _Picture:
    """The image at a position."""
    ((top, bottom, left, right),) = find_frames(train.pixels[i : i + 1]).tolist()
    grey = train.pixels[i, 0].numpy().astype(np.float32)
    contents = np.zeros(grey.shape, np.uint8)
    contents[top:bottom, left:right] = 1
    depth = cv2.distanceTransform(np.pad(contents, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    lesion = (train.known_outlines().masks[i, 0].numpy() > INSIDE).astype(np.float32)
    return _Picture(grey, lesion, depth)


def _set_into(
    source: _Picture, below: _Picture, random: np.random.Generator
) -> tuple[Gray, Gray] | None:
    """The source's lesion with its margin in the other image, and its mask; None without a fit."""
    source = source.mirrored() if random.random() < 0.5 else source
    side = len(source.grey)
    free = (_centre(source.lesion)[0] + random.normal(0, side / 40), random.normal(0.5, 0.1) * side)
    place = _centre(below.lesion) if below.lesion.any() else free
    above = source.moved(random.uniform(*ZOOM), place)
    weight = _weight(above) * (below.depth > 0)
    shown = above.lesion * (weight > HIDDEN)
    if shown.mean() < LEAST_AREA or shown.sum() < (1 - MOST_LEFT) * above.lesion.sum():
        return None
    if ((weight <= HIDDEN) * below.lesion).sum() > MOST_LEFT * below.lesion.sum():
        return None
    seam = (weight > 0) & (weight < 1)
    if not seam.any():
        return None
    shift = below.grey[seam].mean() - above.grey[seam].mean()
    grey = weight * (above.grey + np.clip(shift, -LARGEST_SHIFT, LARGEST_SHIFT))
    grey = np.clip(grey + (1 - weight) * below.grey, 0, 255)
    return grey.round().astype(np.uint8), (255 * shown).astype(np.uint8)


def _weight(above: _Picture) -> Plane:
    """1 on the lesion and its margin, from there to 0; towards the edge of its own image, too."""
    away = cv2.distanceTransform((above.lesion == 0).astype(np.uint8), cv2.DIST_L2, 5)
    margin = max(len(away) / 40, MARGIN * float(above.lesion.sum()) ** 0.5)
    weight = np.clip(1 - (away - margin) / (FADE * margin), 0, 1)
    return np.asarray(weight * np.clip(above.depth / (FADE * margin), 0, 1), np.float32)


def _centre(lesion: Plane) -> tuple[float, float]:
    """Row and column of the centre of mass."""
    rows, columns = np.nonzero(lesion)
    return float(rows.mean()), float(columns.mean())
