"""Fetching a published set: download, verify, unpack, count, and note where it came from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from sonobalance.config import DataSettings
from sonobalance.data.catalogue import Entry, find
from sonobalance.data.download import download
from sonobalance.data.scan import visible
from sonobalance.data.sources import index_folder
from sonobalance.data.unpack import unpack
from sonobalance.errors import InputError
from sonobalance.files import read_json, remove, sha256_of, write_json

ORIGIN = "origin.json"


def fetch(name: str, out: Path, *, url: str = "") -> Path:
    """Fetch a published set into `out/NAME` and return the folder (or file) to give to `index`.

    Show `catalogue.notice(name)` first. The file is streamed and resumed, its checksum compared
    where the catalogue has one, unpacked without leaving the folder, and its images counted.
    `origin.json` beside it says where it came from, its SHA-256, licence and citation. A set that
    is there already is not fetched again.

    Args:
        name: ``busi``, ``bus-bra``, ``bus-uclm`` or ``breastmnist``.
        out: folder to put it in.
        url: another address of the same file, such as a mirror.

    Raises:
        InputError: the set is unknown or has no direct address, or its download, checksum,
            unpacking or count fails.
    """
    return fetch_entry(find(name), out, url=url)


def fetch_entry(entry: Entry, out: Path, *, url: str = "") -> Path:
    """As `fetch`, for a set described by the caller."""
    address = url or entry.url
    folder = out / entry.name
    if (folder / ORIGIN).is_file():
        return _content(folder, str(read_json(folder / ORIGIN)["file"]))
    if not address:
        raise InputError(
            f"{entry.title} has no direct address; get it from {entry.page} and give its folder."
        )
    file_name = Path(urlsplit(address).path).name or f"{entry.name}.zip"
    file = folder / file_name
    packed, there = file.suffix.lower() == ".zip", file.is_file()
    if not there:
        download(address, file)
    digest = _verify(file, entry)
    try:
        if packed and not (there and (folder / file.stem).exists()):
            remove(folder / file.stem)
            unpack(file, folder / file.stem)
        content = _content(folder, file_name)
        _count(content, entry.counts)
    except InputError:
        if packed:
            file.unlink()  # the next call fetches it anew
        raise
    origin = {
        "name": entry.name, "title": entry.title, "page": entry.page, "url": address,
        "file": file_name, "sha256": digest, "licence": entry.licence, "citation": entry.citation,
    }  # fmt: skip
    write_json(folder / ORIGIN, origin)
    if packed:
        file.unlink()
    return content


def _verify(file: Path, entry: Entry) -> str:
    """Compare the checksum, where there is one; a wrong file is removed."""
    if entry.checksum:
        algorithm, expected = entry.checksum.split(":")
        with file.open("rb") as handle:
            got = hashlib.file_digest(handle, algorithm).hexdigest()
        if got != expected:
            file.unlink()
            raise InputError(
                f"Expected {file.name} to have the {algorithm} {expected}, but got {got}; "
                "the file was removed, so try again or give another `url`."
            )
    return sha256_of(file)


def _content(folder: Path, file_name: str) -> Path:
    """What to index: the file itself, or the unpacked folder without empty wrappers around it."""
    path = folder / file_name
    if path.suffix.lower() != ".zip":
        return path
    path = folder / path.stem
    while len(inner := visible(path)) == 1 and inner[0].is_dir():
        path = inner[0]
    return path


def _count(content: Path, expected: Mapping[str, int]) -> None:
    if not expected:
        return
    manifest, skipped = index_folder(content, DataSettings())
    if manifest.counts != dict(expected):
        raise InputError(
            f"Expected {_words(expected)} in {content}, but got {_words(manifest.counts)} and "
            f"{len(skipped)} unusable files; the source may have changed, so look at it first."
        )


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {label}" for label, n in sorted(counts.items()))
