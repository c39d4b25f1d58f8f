"""Class folders with or without masks: BUSI's layout and its relatives.

    benign/benign (1).png, benign/benign (1)_mask.png, benign/benign (1)_mask_1.png
    benign/images/a.png, benign/masks/a.png
    train/benign/a.png, test/benign/b.png      (the given split is looked through, not used)

The class is the top folder; images may lie at any depth below it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from sonobalance.config import DataSettings
from sonobalance.data.candidates import Candidate, Found, Skipped
from sonobalance.data.scan import (
    files_below,
    is_image,
    is_unsupported,
    printable,
    relative,
    storable,
    subfolders,
    visible,
)
from sonobalance.errors import InputError

MASK_NAME = re.compile(r"(?P<stem>.+)_mask(_\d+)?", re.IGNORECASE)
MASK_FOLDERS = frozenset(("mask", "masks"))
IMAGE_FOLDERS = frozenset(("image", "images", "img", "imgs"))
SPLIT_FOLDERS = frozenset(["train", "training", "val", "valid", "validation", "test", "testing"])

Key = tuple[str, ...]


def read_class_folders(root: Path, settings: DataSettings) -> Found:
    """Find the images and masks of class folders.

    Raises:
        InputError: there is no class folder, or one is empty.
    """
    images: list[tuple[Path, str]] = []
    masks: dict[Key, list[Path]] = defaultdict(list)
    skipped = [_loose(path, root) for path in visible(root) if path.is_file() and is_image(path)]
    classes = class_folders(root)
    for folder in classes:
        before = len(images)
        for path in files_below(folder):
            if (left_out := _unusable(path, root, folder)) is not None:
                skipped.append(left_out)
            elif is_image(path) and is_mask(path, folder):
                masks[key_of(path, root)].append(path)
            elif is_image(path):
                images.append((path, folder.name))
        if len(images) == before:
            raise InputError(
                f"Expected images in the class folder {folder}, but there are none; "
                "add some or remove the folder."
            )
    candidates = [
        Candidate(
            relative(path, root), label, patient_of(relative(path, root), settings),
            tuple(relative(mask, root) for mask in masks.get(key_of(path, root), ())),
        )
        for path, label in images
    ]  # fmt: skip
    skipped += _orphans(masks, {key_of(path, root) for path, _ in images}, root)
    source = "busi" if any(c.masks for c in candidates) else "folders"
    return Found(source, candidates, skipped, tuple(sorted({f.name for f in classes})))


def class_folders(root: Path) -> list[Path]:
    """The folders that are classes: those in `root`, or below its `train`, `val`, `test`.

    Raises:
        InputError: there are none, or they are images beside masks.
    """
    folders = subfolders(root)
    names = {folder.name.lower() for folder in folders}
    if names and names <= SPLIT_FOLDERS:
        folders = [inner for folder in folders for inner in subfolders(folder)]
    if not folders:
        raise InputError(
            f"Expected a folder per class in {root}, but there is none; "
            "sort the images into class folders or give an index CSV."
        )
    if names <= MASK_FOLDERS | IMAGE_FOLDERS:
        raise InputError(
            f"Expected a folder per class in {root}, but got {', '.join(sorted(names))}; "
            "give an index CSV with the columns path, label and mask."
        )
    if odd := sorted(f.name for f in folders if _is_part(f) or f.name.lower() in MASK_FOLDERS):
        raise InputError(
            f"Expected a folder per class in {root}, but {odd[0]} stands beside "
            f"{', '.join(sorted(f.name for f in folders if f.name != odd[0]))}; move it away, or "
            "give an index CSV with the columns path, label and mask."
        )
    return folders


def _is_part(folder: Path) -> bool:
    """Whether a folder is TRAIN, VAL or TEST of a set: named so, with folders of its own."""
    inner = {path.name.lower() for path in subfolders(folder)} - MASK_FOLDERS - IMAGE_FOLDERS
    return folder.name.lower() in SPLIT_FOLDERS and bool(inner)


def is_mask(path: Path, folder: Path) -> bool:
    """Whether a file below `folder` is a mask: `x_mask.png`, `x_mask_1.png`, `masks/x.png`."""
    parts = path.relative_to(folder).parts[:-1]
    return bool(MASK_NAME.fullmatch(path.stem)) or any(p.lower() in MASK_FOLDERS for p in parts)


def key_of(path: Path, root: Path) -> Key:
    """What an image and its masks share: the folders except `images` and `masks`, and the stem."""
    parts = path.relative_to(root).parts
    inner = [p for p in parts[1:-1] if p.lower() not in MASK_FOLDERS | IMAGE_FOLDERS]
    named = MASK_NAME.fullmatch(path.stem)
    return (parts[0], *inner, named["stem"] if named else path.stem)


def patient_of(path: str, settings: DataSettings) -> str:
    """The patient key in a path: the first group of `patient_pattern` (or its whole match)."""
    if not settings.patient_pattern:
        return ""
    match = re.search(settings.patient_pattern, path)
    return (match[1] if match.re.groups else match[0]) or "" if match else ""


def _loose(path: Path, root: Path) -> Skipped:
    reason = "It lies outside the class folders, so its class is unknown."
    return Skipped(printable(relative(path, root)), reason, "unlabelled")


def _unusable(path: Path, root: Path, folder: Path) -> Skipped | None:
    name = relative(path, root)
    if is_unsupported(path):
        reason = f"Images of the kind {path.suffix.lower()} are not read; convert it to PNG."
        return Skipped(printable(name), reason, "unsupported")
    if is_image(path) and not storable(Path(name), as_mask=is_mask(path, folder)):
        return Skipped(printable(name), "Its name has characters that no list can hold.", "name")
    return None


def _orphans(masks: dict[Key, list[Path]], used: Iterable[Key], root: Path) -> list[Skipped]:
    reason = "It is named like a mask, but there is no image of that name."
    lost = set(masks) - set(used)
    return [Skipped(relative(p, root), reason, "mask") for key in sorted(lost) for p in masks[key]]
