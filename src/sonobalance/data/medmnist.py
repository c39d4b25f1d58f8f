"""MedMNIST archives: `.npz` files with `train_images`, `train_labels`, `val_...`, `test_...`.

All parts are one list of frames in the order train, val, test; the project splits by itself.
Source: Yang et al., "MedMNIST v2", Scientific Data 2023, doi:10.1038/s41597-022-01721-8.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from sonobalance.data.candidates import Candidate, Found
from sonobalance.data.raster import Pixels, Shape, check_file, check_pixels, to_8_bit, translated
from sonobalance.errors import InputError

SUFFIX = ".npz"
PARTS = ("train", "val", "test")
LARGEST_BYTES = 4 * 2**30  # of all arrays in memory
CLASS_NAMES = {"breastmnist": ("malignant", "normal or benign")}


@dataclass(frozen=True)
class Archive:
    """Images (N, H, W) or (N, H, W, 3) and labels (N,) of each part."""

    images: tuple[NDArray[np.generic], ...]
    labels: tuple[NDArray[np.int64], ...]

    def image(self, frame: int) -> NDArray[np.generic]:
        """The image at a position in the concatenation of the parts."""
        for part in self.images:
            if frame < len(part):
                return part[frame]
            frame -= len(part)
        raise IndexError(frame)

    @property
    def frames(self) -> int:
        """Number of images in all parts."""
        return sum(len(part) for part in self.images)


def is_archive(path: Path) -> bool:
    """Whether a file claims to be an archive, by its suffix."""
    return path.suffix.lower() == SUFFIX


def read_medmnist(path: Path) -> Found:
    """List every image of an archive; its class is the name or number of its label.

    Raises:
        InputError: the file is no MedMNIST archive, is too large, or has several labels per image.
    """
    archive = load(path)
    family = path.stem.split("_")[0].lower()
    names = CLASS_NAMES.get(family, ())
    candidates: list[Candidate] = []
    for part, labels in zip(PARTS, archive.labels, strict=False):
        for i, label in enumerate(labels.tolist()):
            name = names[label] if 0 <= label < len(names) else str(label)
            key = f"{path.stem}/{part}/{i:06d}"
            candidates.append(Candidate(path.name, name, id=key, frame=len(candidates)))
    return Found("medmnist", candidates)


def shape_of(path: Path, max_megapixels: float) -> Shape:
    """Size of the images and their number; raises as `read_medmnist`."""
    archive = load(path)
    height, width = archive.images[0].shape[1:3]
    check_pixels(path, width, height, max_megapixels)
    return Shape(width, height, archive.frames)


def decode(path: Path, frame: int) -> Pixels:
    """One image as (H, W) or (H, W, 3) uint8; raises as `read_medmnist`."""
    archive = load(path)
    if frame >= archive.frames:
        raise InputError(f"Expected a frame {frame} in {path}, but it has {archive.frames}.")
    return to_8_bit(archive.image(frame), path)


def load(path: Path) -> Archive:
    """Read an archive without unpickling anything; the last one is kept in memory."""
    check_file(path)
    status = path.stat()
    return _load(path, status.st_mtime_ns, status.st_size)


def count(path: Path) -> int:
    """Number of images by the labels alone; raises as `read_medmnist`."""
    check_file(path)
    with _opened(path) as arrays:
        return sum(len(arrays[f"{part}_labels"]) for part in _parts(arrays))


@lru_cache(maxsize=1)
def _load(path: Path, _modified_ns: int, _size: int) -> Archive:
    with _opened(path) as arrays:
        parts = _parts(arrays)
        images = tuple(arrays[f"{part}_images"] for part in parts)
        labels = tuple(np.asarray(arrays[f"{part}_labels"], np.int64) for part in parts)
    _check(path, images, labels)
    return Archive(images, tuple(part.reshape(-1) for part in labels))


@contextmanager
def _opened(path: Path) -> Iterator[NpzFile]:
    """The arrays of an archive, each read when it is asked for; whatever fails is an InputError."""
    with translated(path):
        with zipfile.ZipFile(path) as inner:
            total = sum(info.file_size for info in inner.infolist())
        if total > LARGEST_BYTES:
            raise InputError(
                f"Expected at most {LARGEST_BYTES / 2**30:g} GiB of arrays in {path}, but it "
                f"announces {total / 2**30:.1f}; use a smaller edition."
            )
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays


def _parts(arrays: NpzFile) -> list[str]:
    return [part for part in PARTS if f"{part}_images" in arrays]


def _check(
    path: Path, images: tuple[NDArray[np.generic], ...], labels: tuple[NDArray[np.int64], ...]
) -> None:
    flat = all(i.ndim == 3 or (i.ndim == 4 and i.shape[3] == 3) for i in images)
    single = all(part.size == len(i) for i, part in zip(images, labels, strict=True))
    if not images or not flat or not single:
        raise InputError(
            f"Expected train_images (N, H, W) and train_labels (N, 1) in {path}, but they are "
            "missing or of another shape; use a two-dimensional single-label MedMNIST file."
        )
