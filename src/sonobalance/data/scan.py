"""Walking a source: visible image files in a fixed order.

Symbolic links are followed, also out of the folder, because large sets are often linked into
place; a link that leads back to one of its own parents is not entered twice. Hidden files, system
folders and folders of earlier runs are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sonobalance.data.dicom import is_dicom
from sonobalance.data.manifest import MASK_SEPARATOR
from sonobalance.data.medmnist import is_archive
from sonobalance.data.raster import SUFFIXES
from sonobalance.errors import InputError

UNSUPPORTED_IMAGES = (".avif", ".heic", ".heif", ".jp2", ".j2k", ".jxl", ".psd", ".svg", ".pgm")
UNSUPPORTED_VOLUMES = (".nii", ".nrrd", ".mha", ".mhd", ".hdr", ".img", ".ppm")
UNSUPPORTED_FILMS = (".avi", ".mp4", ".mov", ".mpg", ".mpeg", ".wmv")
UNSUPPORTED = frozenset(UNSUPPORTED_IMAGES + UNSUPPORTED_VOLUMES + UNSUPPORTED_FILMS)
SYSTEM_FOLDERS = frozenset(("__MACOSX", "$RECYCLE.BIN", "System Volume Information"))
RUN_FILE = "run.json"


def files_below(folder: Path) -> Iterator[Path]:
    """Every visible file below a folder, sorted within each folder, links followed once."""
    yield from _walk(folder, (folder.resolve(),))


def _walk(folder: Path, parents: tuple[Path, ...]) -> Iterator[Path]:
    for entry in visible(folder):
        if not entry.is_dir():
            yield entry
            continue
        target = entry.resolve()
        if target not in parents:
            yield from _walk(entry, (*parents, target))


def visible(folder: Path) -> list[Path]:
    """The entries of a folder in order, without hidden ones, system folders and folders of runs.

    Raises:
        InputError: the folder cannot be read.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"Expected to read the folder {folder}, but {error.strerror}.") from None
    return [entry for entry in entries if not _passed_over(entry)]


def subfolders(folder: Path) -> list[Path]:
    """The visible folders directly inside a folder."""
    return [entry for entry in visible(folder) if entry.is_dir()]


def is_image(path: Path) -> bool:
    """Whether a file claims to be an image that can be read: by suffix, or by DICOM's magic."""
    return path.suffix.lower() in SUFFIXES or is_dicom(path)


def may_hold_images(path: Path) -> bool:
    """Whether a file claims to be an image, of a kind that is read or not, or an archive."""
    return is_image(path) or is_unsupported(path) or is_archive(path)


def is_unsupported(path: Path) -> bool:
    """Whether a file is an image or a film of a kind that is not read."""
    return path.suffix.lower() in UNSUPPORTED


def storable(path: Path, *, as_mask: bool = False) -> bool:
    """Whether a path can be written to the manifest: Unicode, and masks without their separator."""
    text = str(path)
    return text.isprintable() and not (as_mask and MASK_SEPARATOR in text)


def exists(path: Path) -> bool:
    """Whether there is such a file or folder; a name no file system takes names none."""
    try:
        return path.exists()
    except OSError:
        return False


def relative(path: Path, root: Path) -> str:
    """POSIX path of `path` relative to `root`; it may lead out of `root` by `..`.

    A `..` leads to the parent of what a link points to, so that for a root behind a link the way
    is that between the true places.
    """
    way, true_root = Path(os.path.relpath(path, root)), root.resolve()
    if way.parts[:1] == ("..",) and str(true_root) != os.path.normpath(root.absolute()):
        with suppress(ValueError):  # a name that no file system takes
            way = Path(os.path.relpath(path.parent.resolve() / path.name, true_root))
    return way.as_posix()


def printable(path: str) -> str:
    """A path as text that can be written anywhere; unprintable characters are escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in path)


def _passed_over(entry: Path) -> bool:
    hidden = entry.name.startswith(".") or entry.name in SYSTEM_FOLDERS
    return hidden or (entry.is_dir() and _is_ours(entry))


def _is_ours(folder: Path) -> bool:
    """Whether a folder is a run, a benchmark, or holds nothing but such."""
    if any((folder / name).is_file() for name in (RUN_FILE, f"base/{RUN_FILE}")):
        return True
    try:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return False
    return bool(inside) and all(path.is_dir() and _is_ours(path) for path in inside)
