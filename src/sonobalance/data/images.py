"""Opening, checking, resizing and writing images: the only file that touches pixels on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sonobalance.data import dicom, medmnist, raster
from sonobalance.data.guard import check_allowed
from sonobalance.data.raster import Shape, Upload
from sonobalance.errors import InputError
from sonobalance.files import atomic

Gray = NDArray[np.uint8]  # (H, W) in [0, 255]
Color = NDArray[np.uint8]  # (H, W, 3) RGB in [0, 255]
Mask = NDArray[np.bool_]  # (H, W), True inside the lesion

MAX_MEGAPIXELS = 100.0  # of one image; nothing larger is ever decoded
ASPECT_TOLERANCE = 0.02  # relative difference of the aspect ratios of an image and its mask
LABEL_VALUES = 8  # a lossless mask with at most so many values is a map of labels, not of shades
NOISE = 16  # grey values below it are compression noise in an empty lossy mask

Change = Callable[[NDArray[np.uint8]], Gray]
_changes: list[tuple[Change, frozenset[Path]]] = []  # of the whole process, as the guards


@dataclass(frozen=True)
class Letterbox:
    """How an image was fitted into a square: scaled by `scale`, then padded with black.

    Attributes:
        size: side of the square, pixels.
        height, width: native size, pixels.
        top, left: offset of the image inside the square, pixels.
        inner_height, inner_width: size of the image inside the square, pixels.
    """

    size: int
    height: int
    width: int
    top: int
    left: int
    inner_height: int
    inner_width: int

    @property
    def inner(self) -> tuple[slice, slice]:
        """Rows and columns of the image inside the square."""
        rows = slice(self.top, self.top + self.inner_height)
        return rows, slice(self.left, self.left + self.inner_width)


def letterbox_of(height: int, width: int, size: int) -> Letterbox:
    """The letterbox that fits (height, width) into (size, size) keeping the aspect ratio."""
    scale = size / max(height, width)
    inner_h, inner_w = max(1, round(height * scale)), max(1, round(width * scale))
    return Letterbox(
        size, height, width, (size - inner_h) // 2, (size - inner_w) // 2, inner_h, inner_w
    )


def letterbox(image: Gray, size: int) -> Gray:
    """Fit a (H, W) uint8 image into (size, size) uint8: area resampling, black padding, centred."""
    height, width = image.shape[:2]
    box = letterbox_of(height, width, size)
    shrinking = max(height, width) > size
    inner = cv2.resize(
        image,
        (box.inner_width, box.inner_height),
        interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR,
    )
    out: Gray = np.zeros((size, size), np.uint8)
    out[box.inner] = inner
    return out


def unletterbox(square: NDArray[np.float32], box: Letterbox) -> NDArray[np.float32]:
    """Bring a (size, size) float32 map back to the (height, width) of the original image."""
    resized: NDArray[np.float32] = cv2.resize(
        np.ascontiguousarray(square[box.inner], np.float32), (box.width, box.height),
        interpolation=cv2.INTER_LINEAR,
    )  # fmt: skip
    return resized


def image_shape(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> Shape:
    """Width, height and number of frames from the header, without decoding pixels.

    Raises:
        InputError: the file is missing, empty, not an image, or larger than `max_megapixels`.
        LeakError: a guard forbids this file here.
    """
    check_allowed(path)
    if medmnist.is_archive(path):
        return medmnist.shape_of(path, max_megapixels)
    if dicom.is_dicom(path):
        return dicom.shape_of(path, max_megapixels)
    return raster.shape_of(path, max_megapixels)


def read_gray(path: Path, frame: int = 0) -> Gray:
    """Read an image as (H, W) uint8 grey values; colours by ITU-R BT.601 luma.

    Orientation, transparency, palettes and 16-bit values follow the rules of `raster.decode`,
    DICOM those of `dicom.decode`; in a MedMNIST archive, `frame` is the image.

    Raises:
        InputError: the file is missing, empty, truncated, not an image, or too large.
        LeakError: a guard forbids this file here.
    """
    return _gray(_read(path, frame)[0], path)


def read_upload(
    content: bytes, frame: int | None = None, max_megapixels: float = MAX_MEGAPIXELS
) -> tuple[Gray, Shape]:
    """Decode one frame of an image that is in memory only; DICOM is known by its magic.

    The rules are those of `read_gray`. Nothing is written and no file is opened, so no guard is
    asked.

    Args:
        content: the bytes of the file.
        frame: which one; None is the middle one.
        max_megapixels: a larger image is refused by its header.

    Raises:
        InputError: the bytes are empty, truncated, not an image, too large, or have fewer frames.
    """
    source = Upload(content)
    reader = dicom if content[128:132] == dicom.MAGIC else raster
    shape = reader.shape_of(source, max_megapixels)
    chosen = shape.frames // 2 if frame is None else frame
    if reader is dicom:
        return _gray(dicom.decode(source, chosen, max_megapixels)), shape
    return _gray(raster.decode(source, chosen, max_megapixels)[0]), shape


def read_color(path: Path, frame: int = 0) -> Color:
    """Read an image as (H, W, 3) uint8 RGB; raises as `read_gray`."""
    pixels = _read(path, frame)[0]
    return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def read_mask(paths: list[Path], height: int, width: int, frame: int = 0) -> Mask:
    """The union of mask files as (height, width) bool; all False when there is no file.

    Of a mask with several frames the one at `frame` counts; a mask with one is that of every frame.
    A pixel's value is its largest colour channel, transparency composited on black. In a lossless
    mask of at most 8 different values (0/1, 0/255, labels, colour codes) every non-zero value is
    lesion; in shaded or lossy masks, values above half of the mask's maximum. A mask of another
    size is resized (nearest neighbour) when its aspect ratio is that of the image within 2 %.

    Raises:
        InputError: a mask cannot be read or has another aspect ratio than its image.
        LeakError: a guard forbids one of the files.
    """
    union: Mask = np.zeros((height, width), np.bool_)
    for path in paths:
        page = frame if frame and image_shape(path).frames > 1 else 0
        union |= _fit(_lesion(*_read(path, page)), height, width, path)
    return union


def write_png(path: Path, image: Gray | Color, text: dict[str, str] | None = None) -> None:
    """Write a PNG atomically, with `text` as its tEXt/iTXt chunks (provenance).

    Raises:
        InputError: the folder cannot be written or the disk is full.
    """
    chunks = PngInfo()
    for key, value in (text or {}).items():
        chunks.add_text(key, value)
    with atomic(path) as temporary:
        Image.fromarray(np.ascontiguousarray(image)).save(temporary, "PNG", pnginfo=chunks)


@contextmanager
def seen_through(change: Change, *, leave: Iterable[Path] = ()) -> Iterator[None]:
    """Inside, `read_gray` and `read_upload` give what `change` makes of the decoded pixels.

    Args:
        change: from (H, W) grey or (H, W, 3) RGB uint8 to (H, W) uint8 of the same size.
        leave: folders whose images are read as they are.
    """
    entry = (change, frozenset(folder.absolute() for folder in leave))
    _changes.append(entry)
    try:
        yield
    finally:
        _changes.remove(entry)


def changes() -> tuple[Change, ...]:
    """What images are seen through at present."""
    return tuple(change for change, _ in _changes)


def _gray(pixels: NDArray[np.uint8], path: Path | None = None) -> Gray:
    parents = path.absolute().parents if path else ()
    for change in dict.fromkeys(c for c, left in _changes if left.isdisjoint(parents)):
        pixels = change(pixels)  # once, also where several threads ask for the same
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))


def _read(path: Path, frame: int) -> tuple[NDArray[np.uint8], bool]:
    check_allowed(path, frame)
    if medmnist.is_archive(path):
        return medmnist.decode(path, frame), False
    if dicom.is_dicom(path):
        return dicom.decode(path, frame, MAX_MEGAPIXELS), False
    return raster.decode(path, frame, MAX_MEGAPIXELS)


def _lesion(pixels: NDArray[np.uint8], lossy: bool) -> Mask:
    value = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    values = sum(count > 0 for count in Image.fromarray(value).histogram())
    if not lossy and values <= LABEL_VALUES:
        return np.asarray(value > 0)
    peak = int(value.max())
    return np.asarray(value > max(peak / 2, NOISE))


def _fit(mask: Mask, height: int, width: int, path: Path) -> Mask:
    own_height, own_width = mask.shape
    if (own_height, own_width) == (height, width):
        return mask
    expected_width = own_width / own_height * height
    if abs(expected_width - width) > max(1.0, ASPECT_TOLERANCE * width):
        raise InputError(
            f"Expected the mask {path} to have the aspect ratio of its {width} x {height} image, "
            f"but it is {own_width} x {own_height}; replace or remove it."
        )
    resized = cv2.resize(
        mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT
    )
    return np.asarray(resized > 0)
