"""PNG, JPEG, BMP, TIFF, WebP and GIF bytes to 8-bit arrays, or one sentence why not."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sonobalance.errors import InputError, SonobalanceError

Pixels = NDArray[np.uint8]  # (H, W) grey or (H, W, 3) RGB, in [0, 255]
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "WEBP", "GIF")
SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif"))
LOSSY = frozenset(("JPEG", "MPO", "WEBP"))
WORK_FACTOR = 20  # all frames, or scans, of a file may hold this many times the largest image
MOST_FRAMES = 2000  # of a file
DEPTHS = (8, 10, 12, 14, 16)  # bits in which scanners store grey values
ORIENTATION = 0x0112  # the EXIF tag
PHOTOMETRIC = 262  # the TIFF tag; 0: white is zero
PNG_EXIF = ("exif", "Raw profile type exif")


class Upload(io.BytesIO):
    """The bytes of an image that are in memory only; messages call it `the upload`."""

    def __str__(self) -> str:
        return "the upload"


Source = Path | Upload


@dataclass(frozen=True)
class Shape:
    """What a file holds: width and height in pixels as displayed, number of frames."""

    width: int
    height: int
    frames: int = 1


def shape_of(path: Source, max_megapixels: float) -> Shape:
    """Size and frame count from the header; pixels are not decoded.

    Raises:
        InputError: the file is missing, empty, not an image, or too large.
    """
    with _opened(path, max_megapixels) as image:
        frames = _frames(image)
        _check_work(image, frames, path, max_megapixels)
        turned = _orientation(image) >= 5
        size = (image.height, image.width) if turned else image.size
        return Shape(*size, frames)


def says_synthetic(path: Path) -> bool:
    """Whether a PNG's own text says that it is synthetic, as ours do; pixels are not decoded.

    Raises:
        InputError: the file is missing, empty or not an image.
    """
    if path.suffix.lower() != ".png":
        return False
    with _opened(path, float("inf")) as image:
        return str(image.info.get("synthetic", "")).lower() == "true"


def decode(path: Source, frame: int, max_megapixels: float) -> tuple[Pixels, bool]:
    """Decode one frame; also tells whether the format is lossy.

    Rules: the EXIF orientation is applied; transparency is composited on black (no echo);
    palettes, CMYK and other colour spaces become RGB; grey values of more than 8 bits are divided
    by the largest value of the smallest of 8, 10, 12, 14 or 16 bits that holds the image's
    maximum, so that 12-bit data in 16-bit files keep their brightness; see `to_8_bit`.

    Raises:
        InputError: the file is missing, empty, truncated, not an image, too large, or shorter
            than `frame`.
    """
    with _opened(path, max_megapixels) as image:
        if frame:
            _seek(image, frame, path, max_megapixels)
        orientation = _orientation(image)
        deep = is_deep(image) and not frame
        image.load()
        array = _deep_colours(path, image.size) if deep else _to_array(image, path)
        return _turn(array, orientation), image.format in LOSSY


def to_8_bit(values: NDArray[np.generic], path: Source) -> Pixels:
    """Grey values of any type to uint8.

    Integers: negatives become 0; then the rule of `decode`; above 16 bits the maximum becomes 255.
    Floats in [0, 1] are multiplied by 255; other floats follow the rule of integers.

    Raises:
        InputError: the values are not finite.
    """
    grey = np.asarray(values, np.float32)
    if not np.isfinite(grey).all():
        raise InputError(f"Expected finite pixel values in {path}, but got NaN or infinity.")
    peak = float(grey.max(initial=0.0))
    top = 1.0 if np.issubdtype(values.dtype, np.floating) and peak <= 1 else _top(peak)
    out: Pixels = np.rint(np.clip(grey, 0, None) * (255 / top)).clip(0, 255).astype(np.uint8)
    return out


def _top(peak: float) -> float:
    """The largest value of the fewest bits that hold the peak; the peak itself above 16 bits."""
    return next((2.0**bits - 1 for bits in DEPTHS if peak < 2**bits), peak)


def check_file(path: Source) -> None:
    """Raise `InputError` unless `path` is a regular file, or bytes, and not empty."""
    if isinstance(path, Upload):
        path.seek(0)
        if not path.getbuffer().nbytes:
            raise InputError(f"Expected an image in {path}, but it is empty; export it again.")
        return
    try:
        size = path.stat().st_size
    except OSError as error:
        why = "there is none" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"Expected an image at {path}, but {why}; check the path.") from None
    if not path.is_file():
        raise InputError(f"Expected an image at {path}, but it is not a regular file; remove it.")
    if size == 0:
        raise InputError(f"Expected an image at {path}, but it is empty; export it again.")


def check_pixels(path: Source, width: int, height: int, max_megapixels: float) -> None:
    """Raise `InputError` when a header announces no pixels or more than allowed."""
    if width < 1 or height < 1:
        raise InputError(f"Expected pixels in {path}, but it is {width} x {height}; remove it.")
    if width * height > max_megapixels * 1e6:
        raise InputError(
            f"Expected at most {max_megapixels:g} megapixels in {path}, but its header announces "
            f"{width} x {height}; shrink it or raise `data.max_megapixels`."
        )


@contextmanager
def translated(path: Source) -> Iterator[None]:
    """Turn whatever a decoder raises or warns about hostile bytes into one `InputError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow and pydicom warn about odd metadata
            yield
    except SonobalanceError:
        raise
    except UnidentifiedImageError:
        raise InputError(
            f"Expected an image at {path}, but its content is not of a known format; "
            "export it again as PNG."
        ) from None
    except Image.DecompressionBombError:
        raise InputError(f"Expected an image at {path}, but it is too large; shrink it.") from None
    except PermissionError:
        raise InputError(f"Expected to read {path}, but permission is denied.") from None
    except Exception as error:  # noqa: BLE001 - decoders raise anything on hostile bytes
        raise InputError(
            f"Expected a whole image at {path}, but it is damaged or truncated "
            f"({type(error).__name__}); export it again."
        ) from None


def _content(path: Source) -> bytes:
    return path.getvalue() if isinstance(path, Upload) else path.read_bytes()


@contextmanager
def _opened(path: Source, max_megapixels: float) -> Iterator[Image.Image]:
    check_file(path)
    with translated(path), _bytes(path) as handle, Image.open(handle, formats=FORMATS) as image:
        check_pixels(path, image.width, image.height, max_megapixels)
        if image.format in {"JPEG", "MPO"}:  # each progressive scan costs a pass over all pixels
            _check_work(image, _content(path).count(b"\xff\xda"), path, max_megapixels)
        yield image


@contextmanager
def _bytes(path: Source) -> Iterator[BinaryIO]:
    """A handle of the file: of a path, Pillow maps TIFFs to memory and turns them wrongly."""
    if isinstance(path, Upload):
        yield path
        return
    with path.open("rb") as handle:
        yield handle


def _frames(image: Image.Image) -> int:
    """Number of frames; of a TIFF, whose pages are slow to find, at most `MOST_FRAMES` + 1."""
    if image.format == "MPO":
        return 1
    if image.format != "TIFF":
        return int(getattr(image, "n_frames", 1))
    for page in range(1, MOST_FRAMES + 1):
        try:
            image.seek(page)
        except EOFError:
            image.seek(0)
            return page
    return MOST_FRAMES + 1


def _check_work(image: Image.Image, passes: int, path: Source, max_megapixels: float) -> None:
    most = WORK_FACTOR * max_megapixels
    if passes > MOST_FRAMES or image.width * image.height * passes > most * 1e6:
        raise InputError(
            f"Expected at most {MOST_FRAMES} frames or scans and {most:g} megapixels in all of "
            f"{path}, but got {passes} of {image.width} x {image.height}; shorten the clip."
        )


def _seek(image: Image.Image, frame: int, path: Source, max_megapixels: float) -> None:
    _check_work(image, frame + 1, path, max_megapixels)
    try:
        image.seek(frame)
    except EOFError:
        raise InputError(f"Expected a frame {frame} in {path}, but it has fewer.") from None
    check_pixels(path, image.width, image.height, max_megapixels)


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":
        return 1  # Pillow turns it by itself
    if image.format == "PNG" and image.info.keys().isdisjoint(PNG_EXIF):
        return 1  # Pillow would decode all pixels to look for it behind them
    try:
        value = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # noqa: BLE001 - broken EXIF does not make an image unreadable
        return 1
    return value if value in range(1, 9) else 1


def _turn(array: Pixels, orientation: int) -> Pixels:
    if orientation == 1:
        return array
    image = Image.fromarray(array)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image), np.uint8)


def is_deep(image: Image.Image) -> bool:
    """Whether an image that is not loaded yet has colours of 16 bits, of which Pillow drops 8."""
    tiles = getattr(image, "tile", ())
    return len(image.getbands()) > 1 and any(";16" in str(tile[3]) for tile in tiles)


def _deep_colours(path: Source, size: tuple[int, int]) -> Pixels:
    """(H, W, 3) of colours of 16 bits, by the rule of `to_8_bit`; transparency is black."""
    found = cv2.imdecode(np.frombuffer(_content(path), np.uint8), cv2.IMREAD_UNCHANGED)
    if found is None or found.ndim != 3 or found.shape[1::-1] != size:
        raise InputError(f"Expected colours of 16 bits in {path}; export it as 8-bit PNG.")
    values = np.asarray(found)
    colours = to_8_bit(values[..., 2::-1], path)
    if values.shape[2] < 4:
        return colours
    opaque = values[..., 3:] / 65535
    return np.rint(colours * opaque).astype(np.uint8)


def _to_array(image: Image.Image, path: Source) -> Pixels:
    if image.mode.startswith("I") or image.mode == "F":
        values = np.asarray(image)
        white_is_zero = image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == 0  # type: ignore[attr-defined]
        return to_8_bit(_top(float(values.max())) - values if white_is_zero else values, path)
    if image.has_transparency_data:
        full = image.convert("RGBA")
        black = Image.new("RGBA", full.size, (0, 0, 0, 255))
        return np.asarray(Image.alpha_composite(black, full).convert("RGB"), np.uint8)
    return np.asarray(image.convert("L" if image.mode in {"1", "L"} else "RGB"), np.uint8)
