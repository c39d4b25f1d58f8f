"""Any folder of images, ours or not, as squares that can be compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from sonobalance.artefacts import manifest_of
from sonobalance.config import DataSettings
from sonobalance.data.candidates import Candidate, Found
from sonobalance.data.folders import is_mask
from sonobalance.data.images import Gray, image_shape, letterbox, read_gray
from sonobalance.data.manifest import Record, read_manifest
from sonobalance.data.medmnist import is_archive
from sonobalance.data.scan import RUN_FILE, exists, files_below, is_image, relative
from sonobalance.data.sources import read_source
from sonobalance.data.verify import verify
from sonobalance.errors import InputError
from sonobalance.progress import track
from sonobalance.runs import open_run

SIDE_PX = 64
LISTS = ("manifest.csv", "index.csv")  # of folders that our commands write
Place = tuple[Path, int, str]  # file, frame, group


@dataclass(frozen=True)
class FoundImages:
    """The images of a source.

    Attributes:
        names: N POSIX paths below the folder; of several frames of a file, `path#frame`.
        squares: (N, 1, 64, 64) uint8, each image stretched over the square.
        boxed: (N, 1, 64, 64) uint8, each image letterboxed.
        groups: N keys that images of one clip or patient share.
        unreadable: path → why it was left out.
    """

    names: tuple[str, ...]
    squares: Tensor
    boxed: Tensor
    groups: tuple[str, ...]
    unreadable: dict[str, str]

    def __len__(self) -> int:
        return len(self.names)


def find_images(folder: Path, *, synthetic_only: bool = False) -> FoundImages:
    """Read every image below a folder at any depth, with all frames; lesion masks are left out.

    Masks are files named `*_mask*` or in folders named `mask` or `masks`.

    Args:
        folder: with or without class folders, any sizes and file formats.
        synthetic_only: of a folder that our own commands wrote (a run, its synthesis, a sample, an
            exported set), only the synthetic images.

    Raises:
        InputError: the folder is missing or holds no readable image, or it is ours and lists no
            synthetic one.
    """
    if not folder.is_dir():
        raise InputError(f"Expected a folder of images at {folder}, but there is none.")
    files = _listed(folder) if synthetic_only else None
    if files is None:
        files = _images_below(folder)
    places: dict[str, Place] = {}
    for path in files:
        name, frames = relative(path, folder), _frames(path)
        several = {f"{name}#{k}": (path, k, name) for k in range(frames)}
        places |= several if frames > 1 else {name: (path, 0, name)}
    return _read(folder, places, {})


def find_real(source: Path, *, without: Path | None = None) -> FoundImages:
    """Read the images that `index` takes of a source, with all their frames, but no mask.

    Args:
        source: whatever `index` reads; a run, of which its manifest counts (TRAIN and the rest); or
            any other folder, of which every image below counts.
        without: a folder whose images are passed over.

    Raises:
        InputError: the source is missing or holds no readable image.
    """
    if not exists(source):
        raise InputError(f"Expected a folder of images at {source}, but there is none.")
    root, (records, unreadable) = root_of(source), _indexed(source)
    inside = without.resolve() if without is not None else None
    kept = [r for r in records if inside not in (root / r.path).resolve().parents]
    shared = Counter(r.path for r in kept)
    names = [f"{r.path}#{r.frame}" if r.frame or shared[r.path] > 1 else r.path for r in kept]
    places = [(root / r.path, r.frame, r.patient or r.id) for r in kept]
    return _read(source, dict(zip(names, places, strict=True)), unreadable)


def root_of(source: Path) -> Path:
    """The folder that the names of `find_real` start from."""
    if _is_run(source):
        return manifest_of(open_run(source)).root
    return source if source.is_dir() else source.parent


def read_named(root: Path, name: str) -> Gray:
    """The image (H, W) uint8 that is called so below a root; raises as `read_gray`."""
    path, _, frame = name.rpartition("#")
    if path and frame.isdigit() and not exists(root / name):
        return read_gray(root / path, int(frame))
    return read_gray(root / name)


def _is_run(source: Path) -> bool:
    return (source / RUN_FILE).is_file()


def _images_below(folder: Path) -> list[Path]:
    files = (p for p in files_below(folder) if is_image(p) or is_archive(p))
    return [p for p in files if not is_mask(p, folder)]


def _frames(path: Path) -> int:
    """Images in a file; 1 where it cannot be read, as reading it then says."""
    try:
        return image_shape(path).frames
    except InputError:
        return 1


def _indexed(source: Path) -> tuple[Iterable[Record], dict[str, str]]:
    """The images of a source as `index` takes them, and path → why a file was left out."""
    if _is_run(source):
        return manifest_of(open_run(source)), {}
    settings = DataSettings()
    found = _found(source, settings)
    bare = replace(found, candidates=[replace(c, masks=()) for c in found.candidates])
    records, skipped = verify(bare, root_of(source), settings)
    left_out = {s.path: s.reason for s in (*found.skipped, *skipped) if s.kind != "mask"}
    return sorted(records, key=lambda r: (r.path, r.frame)), left_out


def _found(source: Path, settings: DataSettings) -> Found:
    try:
        return read_source(source, settings)
    except InputError:
        if not source.is_dir():
            raise
    files = _images_below(source)
    return Found("images", [Candidate(relative(path, source), "") for path in files])


def _read(source: Path, places: dict[str, Place], left_out: dict[str, str]) -> FoundImages:
    names, squares, boxed, unreadable = [], [], [], dict(left_out)
    for name, (path, frame, _) in track(places.items(), "reading images", len(places)):
        try:
            image = read_gray(path, frame)
        except InputError as error:
            unreadable[name] = str(error)
            continue
        names.append(name)
        squares.append(stretched(image))
        boxed.append(letterbox(image, SIDE_PX))
    if not names:
        why = f" ({len(unreadable)} cannot be read)" if unreadable else ""
        raise InputError(f"Expected images below {source}, but there are none{why}.")
    groups = tuple(places[name][2] for name in names)
    return FoundImages(tuple(names), _stacked(squares), _stacked(boxed), groups, unreadable)


def _listed(folder: Path) -> list[Path] | None:
    """The synthetic images of a folder that our commands wrote; None where it is not ours."""
    is_run = _is_run(folder)
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


def _stacked(images: list[Gray]) -> Tensor:
    return torch.from_numpy(np.stack(images))[:, None]
