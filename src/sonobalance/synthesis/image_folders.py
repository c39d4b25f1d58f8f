"""Any folder of images, ours or not, as squares that can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from sonobalance.data.folders import MASK_FOLDERS, MASK_NAME
from sonobalance.data.images import Gray, letterbox, read_gray
from sonobalance.data.manifest import read_manifest
from sonobalance.data.scan import RUN_FILE, files_below, is_image, relative
from sonobalance.errors import InputError
from sonobalance.progress import track

SIDE_PX = 64
LISTS = ("manifest.csv", "index.csv")  # of folders that our commands write


@dataclass(frozen=True)
class FoundImages:
    """The images below a folder.

    Attributes:
        names: N POSIX paths below the folder.
        squares: (N, 1, 64, 64) uint8, each image stretched over the square.
        boxed: (N, 1, 64, 64) uint8, each image letterboxed.
        unreadable: path → why it was left out.
    """

    names: tuple[str, ...]
    squares: Tensor
    boxed: Tensor
    unreadable: dict[str, str]

    def __len__(self) -> int:
        return len(self.names)


def find_images(
    folder: Path, *, synthetic_only: bool = False, without: Path | None = None
) -> FoundImages:
    """Read every image below a folder at any depth; lesion masks are left out.

    Masks are files named `*_mask*` or in folders named `mask` or `masks`.

    Args:
        folder: with or without class folders, any sizes and file formats.
        synthetic_only: of a folder that our own commands wrote (a run, its synthesis, a sample, an
            exported set), only the synthetic images.
        without: a folder whose images are passed over.

    Raises:
        InputError: the folder is missing or holds no readable image, or it is ours and lists no
            synthetic one.
    """
    if not folder.is_dir():
        raise InputError(f"Expected a folder of images at {folder}, but there is none.")
    files = _listed(folder) if synthetic_only else None
    if files is None:
        files = [p for p in files_below(folder) if is_image(p) and not _is_mask(p, folder)]
    if without is not None:
        files = [p for p in files if without.resolve() not in p.resolve().parents]
    names, squares, boxed, unreadable = [], [], [], {}
    for path in track(files, "reading images", len(files)):
        name = relative(path, folder)
        try:
            image = read_gray(path)
        except InputError as error:
            unreadable[name] = str(error)
            continue
        names.append(name)
        squares.append(stretched(image))
        boxed.append(letterbox(image, SIDE_PX))
    if not names:
        why = f" ({len(unreadable)} cannot be read)" if unreadable else ""
        raise InputError(f"Expected images below {folder}, but there are none{why}.")
    return FoundImages(tuple(names), _stacked(squares), _stacked(boxed), unreadable)


def _listed(folder: Path) -> list[Path] | None:
    """The synthetic images of a folder that our commands wrote; None where it is not ours."""
    is_run = (folder / RUN_FILE).is_file()
    home = folder / "synthesis" if is_run else folder
    for name in LISTS:
        try:
            manifest = read_manifest(home / name, home)
        except InputError:
            continue
        if made := [manifest.file(r) for r in manifest if r.origin == "synthetic"]:
            return made
        raise InputError(
            f"Expected synthetic images in {home / name}, but it lists none; "
            "give a folder with some."
        )
    if is_run:
        raise InputError(
            f"Expected synthetic images in the run {folder}, but there are none; "
            "run `synthesize` on it, or give a folder with some."
        )
    return None


def stretched(image: Gray) -> Gray:
    """An image (H, W) uint8 over the whole square, whatever its aspect ratio."""
    shrinking = max(image.shape) > SIDE_PX
    square: Gray = cv2.resize(
        image, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
    return square


def _is_mask(path: Path, root: Path) -> bool:
    folders = {part.lower() for part in path.relative_to(root).parts[:-1]}
    return bool(MASK_NAME.fullmatch(path.stem)) or bool(folders & MASK_FOLDERS)


def _stacked(images: list[Gray]) -> Tensor:
    return torch.from_numpy(np.stack(images))[:, None]
