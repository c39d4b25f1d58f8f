"""A bundle as files: a flat folder or a ZIP of it, read whole into memory or refused.

Every file is named with its SHA-256 in `SHA256SUMS`, in the format of `sha256sum`. A ZIP is never
unpacked, so nothing in it can reach the disk. Nothing is unpickled (promise P5).
"""

from __future__ import annotations

import hashlib
import io
import re
import stat
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from sonobalance.data.unpack import check_members
from sonobalance.errors import InputError
from sonobalance.files import atomic, remove, unwritable

SUMS = "SHA256SUMS"
DESCRIPTION, CARD, WEIGHTS, GOLDEN = (
    "model.json", "MODEL_CARD.md", "weights.safetensors", "golden.json",
)  # fmt: skip
REQUIRED = (DESCRIPTION, CARD, WEIGHTS, GOLDEN)
MOST_FILES = 32
LARGEST_BYTES = 4 * 2**30  # of a file of tensors
LARGEST_TEXT_BYTES = 32 * 2**20  # of any other file
TENSORS = ".safetensors"
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".ckpt", ".npy", ".npz")
PICKLE_MAGICS = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")
_LINE = re.compile(r"([0-9a-f]{64})  ([A-Za-z0-9_.-]+)")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # a ZIP of the same files has the same bytes


def is_bundle(path: Path) -> bool:
    """Whether a path claims to be a bundle: a ZIP, or a folder with its description or its sums."""
    if path.is_file():
        return path.suffix.lower() == ".zip"
    return (path / DESCRIPTION).is_file() or (path / SUMS).is_file()


def read_files(path: Path) -> dict[str, bytes]:
    """Name → content of every file of a bundle, before any of it is believed.

    Raises:
        InputError: there is no bundle, it holds what a bundle does not hold (other files, links,
            folders, a pickle), a file is too large, or the ZIP is damaged or a bomb.
    """
    if path.is_dir():
        return _from_folder(path)
    if path.is_file():
        return _from_zip(path)
    raise InputError(f"Expected a bundle (a folder or a .zip) at {path}, but there is none.")


def check_sums(files: Mapping[str, bytes], path: Path) -> None:
    """Raise `InputError` unless the files are exactly those of `SHA256SUMS`, byte for byte."""
    expected = _sums(files, path)
    for name in sorted({*REQUIRED, *expected} - {*files}):
        raise InputError(f"Expected {name} in the bundle {path}, but it is missing; get it again.")
    for name in sorted({*files} - {*expected, SUMS}):
        raise InputError(f"Expected only the files of {SUMS} in {path}, but got {name}; remove it.")
    for name, digest in expected.items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise InputError(
                f"Expected {name} in the bundle {path} to be as it was written, but its SHA-256 "
                "differs; get the bundle again."
            )


def check_new(folder: Path) -> Path:
    """The path of the ZIP beside a bundle's folder.

    Raises:
        InputError: the folder or the ZIP exists.
    """
    folder = folder.absolute()
    archive = folder.parent / f"{folder.name}.zip"
    for path in (folder, archive):
        if path.exists():
            raise InputError(f"Expected no {path} yet, but there is one; choose another --out.")
    return archive


def write_bundle(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Write a bundle as `folder` and as `folder`.zip, both whole or not at all.

    Raises:
        InputError: the folder or the ZIP exists, or cannot be written.
    """
    archive, folder = check_new(folder), folder.absolute()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as staging:
            _write(dict(files) | {SUMS: sums_of(files)}, Path(staging, "whole"), folder, archive)
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


def _write(files: Mapping[str, bytes], staged: Path, folder: Path, archive: Path) -> None:
    """Write the files to `staged`, move that to `folder`, and let the ZIP appear last."""
    staged.mkdir()
    for name, content in files.items():
        (staged / name).write_bytes(content)
    try:
        with atomic(archive) as temporary:
            temporary.write_bytes(zipped(files))
            staged.replace(folder)
    except BaseException:
        if not staged.exists():  # it became `folder`, which is nobody else's then
            remove(folder)
            remove(archive)
        raise


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A ZIP of these files; the same files give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr, member.compress_type = 0o644 << 16, zipfile.ZIP_DEFLATED
            archive.writestr(member, files[name])
    return buffer.getvalue()


def sums_of(files: Mapping[str, bytes]) -> bytes:
    """The content of `SHA256SUMS` for these files."""
    lines = [f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)]
    return "".join(lines).encode()


def _sums(files: Mapping[str, bytes], path: Path) -> dict[str, str]:
    if SUMS not in files:
        raise InputError(f"Expected {SUMS} in the bundle {path}, but it is missing; get it again.")
    found = {}
    text = files[SUMS].decode("ascii", "replace")
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is None:
            raise InputError(f"Expected lines of `sha256sum` in {SUMS} of {path}, but got another.")
        found[match[2]] = match[1]
    if _lines(found) != text:
        raise InputError(f"Expected {SUMS} of {path} to be as it was written, but it is not.")
    return found


def _lines(sums: Mapping[str, str]) -> str:
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums))


def _from_folder(folder: Path) -> dict[str, bytes]:
    try:
        entries = sorted(folder.iterdir())
        _check_count(len(entries), folder)
        files = {}
        for entry in entries:
            if entry.is_symlink() or not entry.is_file():
                raise InputError(
                    f"Expected only files in the bundle {folder}, but {entry.name} is a folder or "
                    "a link; remove it."
                )
            _check_name(entry.name, folder)
            _check_size(entry.name, entry.stat().st_size, folder)
            files[entry.name] = entry.read_bytes()
            _check_pickle(entry.name, files[entry.name], folder)
    except OSError as error:
        raise InputError(f"Expected to read {folder}, but {error.strerror}.") from None
    return files


def _from_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check_count(len(members), path)
            check_members(members, path)
            names = _without_common_folder([member.filename for member in members], path)
            files = {}
            for name, member in zip(names, members, strict=True):
                _check_member(name, member, path)
                files[name] = _unpacked(archive, member, path)
                _check_pickle(name, files[name], path)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeError) as error:
        raise InputError(f"Expected a whole bundle in {path}, but {error}; get it again.") from None
    except OSError as error:
        raise InputError(f"Expected to read {path}, but {error.strerror}.") from None
    return files


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> bytes:
    """The content of a member, of which no more is unpacked than it declares."""
    with archive.open(member) as opened:
        content = opened.read(member.file_size + 1)
    if len(content) != member.file_size:
        raise InputError(
            f"Expected {member.file_size} bytes in {member.filename} of the bundle {path}, but got "
            f"{len(content)}; get it again."
        )
    return content


def _check_count(count: int, path: Path) -> None:
    if count > MOST_FILES:
        raise InputError(f"Expected a bundle at {path}, but it holds {count} files.")


def _without_common_folder(names: list[str], path: Path) -> list[str]:
    """The names without the one folder around them, if a packer put it there."""
    tops = {PurePosixPath(name).parts[0] for name in names if "/" in name}
    if len(tops) == 1 and all(name.startswith(f"{next(iter(tops))}/") for name in names):
        names = [name.split("/", 1)[1] for name in names]
    if len(set(names)) < len(names):
        raise InputError(f"Expected each file once in the bundle {path}, but one occurs twice.")
    return names


def _check_member(name: str, member: zipfile.ZipInfo, path: Path) -> None:
    _check_name(name, path)
    _check_size(name, member.file_size, path)
    if stat.S_ISLNK(member.external_attr >> 16):
        raise InputError(f"Expected only files in the bundle {path}, but {name} is a link.")


def _check_name(name: str, path: Path) -> None:
    if name.lower().endswith(PICKLES):
        raise InputError(
            f"Expected no pickle in the bundle {path}, but got {name}; nothing is ever unpickled."
        )
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name):
        raise InputError(f"Expected plain file names in the bundle {path}, but got {name!r}.")


def _check_size(name: str, size: int, path: Path) -> None:
    largest = LARGEST_BYTES if name.endswith(TENSORS) else LARGEST_TEXT_BYTES
    if size > largest:
        raise InputError(
            f"Expected at most {largest / 2**20:.0f} MiB in {name} of the bundle {path}, but it "
            f"has {size / 2**20:.0f} MiB."
        )


def _check_pickle(name: str, content: bytes, path: Path) -> None:
    tensors = content[8:9] == b"{"  # the length before a safetensors header may look like a pickle
    if content.startswith(PICKLE_MAGICS) and not tensors:
        raise InputError(
            f"Expected {name} of the bundle {path} to be what its name says, but it is a pickle; "
            "nothing is ever unpickled."
        )
