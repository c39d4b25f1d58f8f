"""ZIP archives from strangers: nothing leaves the folder, nothing explodes, all or nothing."""

from __future__ import annotations

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from sonobalance.errors import InputError
from sonobalance.files import unwritable
from sonobalance.progress import track

LARGEST_BYTES = 20 * 2**30
LARGEST_RATIO = 100  # unpacked to packed size, of archives that matter
HARMLESS_BYTES = 100 * 2**20
MOST_FILES = 500_000
BOUNDED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack more than they are asked for


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a ZIP archive into a new folder, which appears only when all of it is there.

    Raises:
        InputError: the archive is damaged or encrypted, would write outside the folder, holds
            links, or is too large when unpacked; or the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise unwritable(folder, error) from error
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            check_members(members, archive)
            for member in track(members, "unpacking", len(members)):
                opened.extract(member, temporary)
        temporary.chmod(0o755)
        temporary.replace(folder)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, UnicodeError) as error:
        raise InputError(
            f"Expected a whole ZIP archive at {archive}, but {error}; fetch it again."
        ) from None
    except OSError as error:
        raise unwritable(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_members(members: list[zipfile.ZipInfo], archive: Path) -> None:
    """Raise `InputError` when an archive is not safe to unpack."""
    for member in members:
        if (why := _danger(member)) is not None:
            raise InputError(
                f"Expected {archive} to be safe to unpack, but {member.filename!r} {why}."
            )
    packed = sum(member.compress_size for member in members)
    total = sum(member.file_size for member in members)
    explodes = total > HARMLESS_BYTES and total > LARGEST_RATIO * packed
    if len(members) > MOST_FILES or total > LARGEST_BYTES or explodes:
        raise InputError(
            f"Expected {archive} to be safe to unpack, but its {len(members)} files would take "
            f"{total / 2**20:.0f} MiB from {packed / 2**20:.1f} MiB."
        )


def _danger(member: zipfile.ZipInfo) -> str | None:
    name = member.filename.replace("\\", "/")
    posix, windows = PurePosixPath(name), PureWindowsPath(member.filename)
    if posix.is_absolute() or windows.drive or ".." in posix.parts:
        return "leads out of the folder"
    if stat.S_ISLNK(member.external_attr >> 16):
        return "is a link"
    if member.compress_type not in BOUNDED:
        return "is neither stored nor deflated"
    return "is encrypted" if member.flag_bits & 1 else None
