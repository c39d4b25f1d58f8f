"""The balanced set as files: real and synthetic images under names that tell them apart."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from sonobalance.data.cleaning import cleaning
from sonobalance.data.images import image_shape, read_gray, read_mask, write_png
from sonobalance.data.manifest import COLUMNS, Manifest, Record
from sonobalance.data.raster import FORMATS, SUFFIXES, Shape, is_deep, translated
from sonobalance.data.split import Part, Splits, check_no_synthetic
from sonobalance.errors import InputError
from sonobalance.files import copy_file, sha256_of, write_csv
from sonobalance.progress import track

Layout = Literal["folders", "index"]
Real = Literal["copy", "link", "leave-out"]
INDEX = "index.csv"
EXTRA = ("part", "group")
BUSI_NAME = r"{label} \(\d+\)"
SHOWING = frozenset((  # what Pillow finds beside pixels that is no text
    "adobe", "adobe_transform", "aspect", "background", "chromaticity", "compression", "dpi",
    "duration", "gamma", "icc_profile", "interlace", "jfif", "jfif_density", "jfif_unit",
    "jfif_version", "loop", "progression", "progressive", "resolution", "srgb", "timestamp",
    "version",
))  # fmt: skip
SHOWING_TAGS = frozenset((  # of TIFF: size, depth, compression, strips and tiles, resolution
    254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 282, 283, 284, 296, 317, 322, 323,
    324, 325, 339, 347, 530, 531, 532,
))  # fmt: skip
PLAIN_MODES = frozenset(("L", "RGB"))  # 8 bits, as every reader shows them


@dataclass(frozen=True)
class Item:
    """One image of the exported set.

    Attributes:
        record: as it stands in the set; path and masks are relative to the set's folder.
        file: where the image comes from.
        frame: which of the file's frames is written as PNG; None: the file itself is handed on.
        masks: where its lesion masks come from.
        plain_masks: for each of them, whether the file itself is handed on; of others the pixels
            are written, at the image's size.
        part: train, val or test; synthetic images are in train only.
        group: key of relatives; empty for synthetic images.
    """

    record: Record
    file: Path
    frame: int | None
    masks: tuple[Path, ...]
    plain_masks: tuple[bool, ...]
    part: Part
    group: str


def plan_set(
    splits: Splits, synthetic: Manifest, parts: Sequence[Part], layout: Layout, real: Real
) -> list[Item]:
    """Name every image of the set.

    Files that readers show as `read_gray` does are handed on; of others, and inside `cleaned` of
    every real image, the pixels are written as PNG.

    Args:
        splits: real images and their parts.
        synthetic: accepted images, with their masks where there are any; they join TRAIN.
        parts: which parts are exported; with more than one, each has a folder of its own.
        layout: class folders with BUSI's names, or one folder `images` with the ids as names (and
            a hash where two ids make one name).
        real: whether real images are there at all.

    Raises:
        InputError: a file is missing or is not an image.
        LeakError: a synthetic image stands in VAL or TEST.
    """
    items = []
    for part in parts:
        images = splits.of(part)
        if part != "train":
            check_no_synthetic(images)
        top = f"{part}/" if len(parts) > 1 else ""
        if real != "leave-out":
            items += _real(top, images, splits, part, layout)
        if part == "train":
            items += _synthetic(top, synthetic, layout)
    return items


def _real(top: str, images: Manifest, splits: Splits, part: Part, layout: Layout) -> list[Item]:
    records = images.records
    names = _busi_names(records) if layout == "folders" else _flat_names(records)
    out = []
    for r in records:
        folder = r.label if layout == "folders" else "images"
        file, sources = images.file(r), tuple(images.mask_files(r))
        whole = _is_plain(file) and not cleaning()
        plain = tuple(_is_plain(mask) for mask in sources)
        path, *masks = (
            f"{top}{folder}/{stem}{source.suffix.lower() if kept else '.png'}"
            for stem, source, kept in zip(
                _stems(names[r.id], r), (file, *sources), (whole, *plain), strict=True
            )
        )
        record = replace(r, path=path, masks=tuple(masks), frame=0)
        frame = None if whole else r.frame
        out.append(Item(record, file, frame, sources, plain, part, splits.group[r.id]))
    return out


def _stems(name: str, record: Record) -> list[str]:
    """Names of an image and its masks, without suffixes."""
    return [name, *(f"{name}_mask{f'_{i}' if i else ''}" for i in range(len(record.masks)))]


def _synthetic(top: str, images: Manifest, layout: Layout) -> list[Item]:
    count: Counter[str] = Counter()
    out = []
    for r in images:
        count[r.label] += 1
        named = f"{r.label}/{r.label} (synthetic {count[r.label]})"
        stem = f"{top}{named if layout == 'folders' else f'images/synthetic-{r.id}'}"
        path, *masks = (f"{name}.png" for name in _stems(stem, r))
        record = replace(r, path=path, masks=tuple(masks))
        file, sources = images.file(r), tuple(images.mask_files(r))
        fitting = tuple(image_shape(mask) == image_shape(file) for mask in sources)
        out.append(Item(record, file, None, sources, fitting, "train", ""))
    return out


def _busi_names(records: Sequence[Record]) -> dict[str, str]:
    """Id → `label (number)`; the original names of a class are kept where all are of that form."""
    classes: dict[str, list[Record]] = defaultdict(list)
    for r in records:
        classes[r.label].append(r)
    names: dict[str, str] = {}
    for label, members in classes.items():
        stems = [Path(r.path).stem for r in members]
        pattern = BUSI_NAME.format(label=re.escape(label))
        fitting = all(re.fullmatch(pattern, stem) for stem in stems)
        if not fitting or len(set(stems)) < len(stems):
            stems = [f"{label} ({i})" for i in range(1, len(stems) + 1)]
        names |= {r.id: stem for r, stem in zip(members, stems, strict=True)}
    return names


def _flat_names(records: Sequence[Record]) -> dict[str, str]:
    """Id → itself as the name of a file, with its hash where that or a mask's name is taken."""
    names = {r.id: re.sub(r"[^\w .()#-]", "_", r.id) for r in records}
    stems = {r.id: [stem.casefold() for stem in _stems(names[r.id], r)] for r in records}
    taken = Counter(stem for both in stems.values() for stem in both)
    return {
        key: f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        if any(taken[stem] > 1 for stem in stems[key])
        else name
        for key, name in names.items()
    }


def _is_plain(path: Path) -> bool:
    """Whether any reader sees in a file what `read_gray` sees: one upright 8-bit opaque image.

    And no text beside it: headers of DICOM files, EXIF, comments and tags may identify a patient.
    Of other files only pixels are taken.
    """
    if path.suffix.lower() not in SUFFIXES or image_shape(path).frames > 1:
        return False
    try:
        with translated(path), Image.open(path, formats=FORMATS) as image:
            plain = image.mode in PLAIN_MODES and not is_deep(image)
            image.load()  # text may stand behind the pixels
            return plain and not image.has_transparency_data and not _tells_more(image)
    except InputError:  # its metadata are damaged; `read_gray` tells whether its pixels are
        return False


def _tells_more(image: Image.Image) -> bool:
    """Whether a loaded image holds words or tags beside what is needed to show its pixels."""
    tags = set(getattr(image, "tag_v2", ()))  # of a TIFF, whose EXIF they are
    if not tags and len(image.getexif()):
        return True
    return bool(tags - SHOWING_TAGS or image.info.keys() - SHOWING)


def write_set(items: Sequence[Item], folder: Path, real: Real) -> Manifest:
    """Write the images, their masks and `index.csv`; returns the records as written.

    Args:
        items: from `plan_set`.
        folder: of the set.
        real: copy real files or link to them.

    Raises:
        InputError: two files have one name, or one cannot be read or written.
    """
    records = []
    for item in track(items, "exporting", len(items)):
        target = _new(folder / item.record.path)
        linked = real == "link" and item.record.origin == "real"
        if item.frame is None:
            _place(item.file, target, linked=linked)
        else:
            write_png(target, read_gray(item.file, item.frame))
        shape = image_shape(target)  # enlarged images differ from those that were drawn
        _write_masks(item, folder, shape, linked=linked)
        records.append(replace(
            item.record, sha256=sha256_of(target), width=shape.width, height=shape.height
        ))  # fmt: skip
    _write_index(items, records, folder / INDEX)
    return Manifest(tuple(records), folder)


def _write_masks(item: Item, folder: Path, shape: Shape, *, linked: bool) -> None:
    masks = zip(item.masks, item.record.masks, item.plain_masks, strict=True)
    for source, name, plain in masks:
        target = _new(folder / name)
        if plain:
            _place(source, target, linked=linked)
        else:
            mask = read_mask([source], shape.height, shape.width, item.frame or 0)
            write_png(target, mask.astype(np.uint8) * 255)


def _new(path: Path) -> Path:
    """A path at which nothing stands yet."""
    if os.path.lexists(path):
        raise InputError(
            f"Expected a name for each file of the set, but two are named {path.name!r}; "
            "change the id of one image."
        )
    return path


def _place(source: Path, target: Path, *, linked: bool) -> None:
    if linked:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(os.path.relpath(source.resolve(), target.parent.resolve())))
        return
    copy_file(source, target)


def _write_index(items: Sequence[Item], records: Sequence[Record], path: Path) -> None:
    write_csv(path, [*COLUMNS, *EXTRA], [
        [*record.as_row(), item.part, item.group]
        for item, record in zip(items, records, strict=True)
    ])  # fmt: skip


def counts_of(items: Sequence[Item], *, masked: bool = False) -> Mapping[tuple[str, str], int]:
    """(class, origin) → images in TRAIN; on request only those with a lesion mask."""
    return Counter(
        (i.record.label, i.record.origin)
        for i in items
        if i.part == "train" and (i.record.masks or not masked)
    )
