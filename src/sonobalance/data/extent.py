"""What a source consists of by names and bytes alone: which files, and how many images."""

from __future__ import annotations

from pathlib import Path

from sonobalance.config import DataSettings
from sonobalance.data import medmnist
from sonobalance.data.busuclm import image_files
from sonobalance.data.scan import files_below, may_hold_images, relative
from sonobalance.data.sources import TABLES, archive_of, layout_of, read_source, table_of
from sonobalance.data.tables import SUFFIXES, files_named
from sonobalance.files import digest_of


def source_digest(source: Path, settings: DataSettings) -> str:
    """One digest over the names and bytes of the files that `index_folder` looks at.

    These are the visible images, tables and archives of a folder, links followed, without folders
    of runs; of a table, itself and the images and masks that it names, wherever they lie. A file
    that cannot be read counts by its name.

    Raises:
        InputError: there is no such source, a folder in it cannot be read, or its table is none.
    """
    root = source if source.is_dir() else source.parent
    files = filter(_looked_at, files_below(source)) if source.is_dir() else [source]
    names = dict.fromkeys(relative(path, root) for path in files)
    if layout_of(source, settings) in TABLES:
        names |= dict.fromkeys(files_named(table_of(source, settings), settings))
    return digest_of((name, root / name) for name in names)


def _looked_at(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES or may_hold_images(path)


def count_images(source: Path, settings: DataSettings) -> int:
    """How many images a source seems to hold; no pixel is decoded, and a clip counts as one.

    Raises:
        InputError: it is not readable as a set.
    """
    layout = layout_of(source, settings)
    if layout == "medmnist":
        return medmnist.count(archive_of(source))
    if layout == "bus-uclm":
        return len(image_files(source))
    return len(read_source(source, settings).candidates)
