"""The balanced set as files: real and synthetic images under names that tell them apart."""

from __future__ import annotations

import csv
import io
import os
import re
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from sonobalance.data import dicom
from sonobalance.data.images import image_shape, read_gray, write_png
from sonobalance.data.manifest import COLUMNS, MASK_SEPARATOR, Manifest, Record
from sonobalance.data.raster import SUFFIXES
from sonobalance.data.split import Part, Splits, check_no_synthetic
from sonobalance.files import atomic, sha256_of, write_text
from sonobalance.progress import track

Layout = Literal["folders", "index"]
Real = Literal["copy", "link", "leave-out"]
INDEX = "index.csv"
EXTRA = ("part", "group")
BUSI_NAME = r"{label} \(\d+\)"


@dataclass(frozen=True)
class Item:
    """One image of the exported set.

    Attributes:
        record: as it stands in the set; path and masks are relative to the set's folder.
        file: where the image comes from.
        frame: which of the file's frames it is; None: the file itself is the image.
        masks: where its lesion masks come from.
        part: train, val or test; synthetic images are in train only.
        group: key of relatives; empty for synthetic images.
    """

    record: Record
    file: Path
    frame: int | None
    masks: tuple[Path, ...]
    part: Part
    group: str


def plan_set(
    splits: Splits, synthetic: Manifest, parts: Sequence[Part], layout: Layout, real: Real
) -> list[Item]:
    """Name every image of the set.

    Args:
        splits: real images and their parts.
        synthetic: accepted images; they join TRAIN.
        parts: which parts are exported; with more than one, each has a folder of its own.
        layout: class folders with BUSI's names, or one folder `images` with the ids as names.
        real: whether real images are there at all.

    Raises:
        LeakError: a synthetic image stands in VAL or TEST.
    """
    items = []
    for part in parts:
        images = splits.of(part)
        made = synthetic.records if part == "train" else ()
        if part != "train":
            check_no_synthetic(images)
        top = f"{part}/" if len(parts) > 1 else ""
        if real != "leave-out":
            items += _real(top, images, splits, part, layout)
        items += _synthetic(top, made, synthetic, layout)
    return items


def _real(top: str, images: Manifest, splits: Splits, part: Part, layout: Layout) -> list[Item]:
    records = images.records
    names = _busi_names(records) if layout == "folders" else {r.id: _flat(r.id) for r in records}
    out = []
    for r in records:
        folder = r.label if layout == "folders" else "images"
        stem = f"{top}{folder}/{names[r.id]}"
        frame = None if _is_plain(images.file(r)) else r.frame
        suffix = Path(r.path).suffix.lower() if frame is None else ".png"
        masks = tuple(
            f"{stem}_mask{f'_{i}' if i else ''}{Path(m).suffix.lower()}"
            for i, m in enumerate(r.masks)
        )
        record = replace(r, path=stem + suffix, masks=masks, frame=0)
        sources = tuple(images.mask_files(r))
        out.append(Item(record, images.file(r), frame, sources, part, splits.group[r.id]))
    return out


def _synthetic(top: str, records: Sequence[Record], images: Manifest, layout: Layout) -> list[Item]:
    count: Counter[str] = Counter()
    out = []
    for r in records:
        count[r.label] += 1
        stem = f"{r.label}/{r.label} (synthetic {count[r.label]})"
        path = f"{top}{stem if layout == 'folders' else f'images/synthetic-{r.id}'}.png"
        out.append(Item(replace(r, path=path), images.file(r), None, (), "train", ""))
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


def _flat(key: str) -> str:
    """An id as the name of a file."""
    return re.sub(r"[^\w .()#-]", "_", key)


def _is_plain(path: Path) -> bool:
    """Whether a file is one plain image; of others (DICOM, clips, archives) only pixels are taken.

    Headers of DICOM files may identify a patient.
    """
    plain = path.suffix.lower() in SUFFIXES and not dicom.is_dicom(path)
    return plain and image_shape(path).frames == 1


def write_set(items: Sequence[Item], folder: Path, real: Real) -> Manifest:
    """Write the images, their masks and `index.csv`; returns the records as written.

    Args:
        items: from `plan_set`.
        folder: of the set.
        real: copy real files or link to them.
    """
    records = []
    for item in track(items, "exporting", len(items)):
        target = folder / item.record.path
        linked = real == "link" and item.record.origin == "real"
        if item.frame is None:
            _place(item.file, target, linked=linked)
        else:
            write_png(target, read_gray(item.file, item.frame))
        for source, name in zip(item.masks, item.record.masks, strict=True):
            _place(source, folder / name, linked=linked)
        record = replace(item.record, sha256=sha256_of(target))
        if record.origin == "synthetic":  # enlarged ones differ from those that were drawn
            height, width = read_gray(target).shape
            record = replace(record, width=width, height=height)
        records.append(record)
    _write_index(items, records, folder / INDEX)
    return Manifest(tuple(records), folder)


def _place(source: Path, target: Path, *, linked: bool) -> None:
    if linked:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(os.path.relpath(source.resolve(), target.parent.resolve())))
        return
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)


def _write_index(items: Sequence[Item], records: Sequence[Record], path: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *EXTRA])
    for item, record in zip(items, records, strict=True):
        row = {name: getattr(record, name) for name in COLUMNS}
        row |= {"masks": MASK_SEPARATOR.join(record.masks), "part": item.part, "group": item.group}
        writer.writerow([row[name] for name in (*COLUMNS, *EXTRA)])
    write_text(path, text.getvalue())


def counts_of(items: Sequence[Item]) -> Mapping[tuple[str, str], int]:
    """(class, origin) → images in TRAIN."""
    return Counter((i.record.label, i.record.origin) for i in items if i.part == "train")
