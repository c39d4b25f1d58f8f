"""Files that are either whole or absent: atomic writes, JSON, JSON lines, hashes."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sonobalance.errors import InputError

UMASK = os.umask(0o077)
os.umask(UMASK)


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it vanishes.

    A link stays and what it names is replaced; a pipe or device is written to.

    Raises:
        InputError: the folder cannot be written or the disk is full.
    """
    try:
        special = path.exists() and not path.is_file() and not path.is_dir()
    except OSError as error:
        raise unwritable(path, error) from error
    if special:
        with _poured_into(path) as temporary:
            yield temporary
        return
    try:
        path = Path(os.path.realpath(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise unwritable(path, error) from error
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~UMASK)
        temporary.replace(path)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _poured_into(path: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        temporary = Path(place, path.name)
        yield temporary
        try:
            with temporary.open("rb") as whole, path.open("wb") as target:
                shutil.copyfileobj(whole, target)
        except OSError as error:
            raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> InputError:
    """The sentence for a path that cannot be written."""
    if error.errno == errno.ENOSPC:
        return InputError(f"The disk is full while writing {path}; free some space and run again.")
    return InputError(f"Cannot write {path} ({error.strerror}); choose another --out.")


def check_new(out: Path) -> None:
    """See that a result can be written where nothing lies.

    Raises:
        InputError: `out` is a file, or a folder that is not empty.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"Expected {out} to be a new or empty folder; choose another --out.")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON document atomically; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON document.

    Raises:
        InputError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"Expected a file at {path}, but there is none.") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Expected JSON in {path}, but {error}.") from None


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV, atomically; the same rows give the same bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of a CSV file as text."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file so that the target is whole or absent."""
    with atomic(target) as temporary:
        shutil.copyfile(source, temporary)


def append_line(path: Path, row: dict[str, Any]) -> None:
    """Append one JSON line to a log.

    Raises:
        InputError: the log cannot be written or the disk is full.
    """
    line = json.dumps(row, allow_nan=False) + "\n"
    try:
        with path.open("a", encoding="utf-8") as handle:
            handle.write(line)
    except OSError as error:
        raise unwritable(path, error) from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines log; an incomplete last line (a killed writer) is dropped.

    Raises:
        InputError: another line is damaged.
    """
    if not path.is_file():
        return []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
        return [json.loads(line) for line in lines[:-1] if line]
    except ValueError as error:
        raise InputError(f"Expected JSON lines in {path}, but {error}.") from None


def keep_lines(path: Path, key: str, last: int) -> None:
    """Drop the log rows after `row[key] > last`, so that a resumed run writes each row once."""
    rows = [row for row in read_lines(path) if row[key] <= last]
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with what is in it; absent is fine."""
    if path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            remove(child)
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


def tree_digest(root: Path) -> str:
    """One digest over the names and bytes of every file below a folder, or of one file.

    Raises:
        InputError: there is neither.
    """
    if not root.is_dir():
        return sha256_of(root)
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return digest_of((p.relative_to(root).as_posix(), p) for p in files)


def digest_of(files: Iterable[tuple[str, Path]]) -> str:
    """One digest over names and bytes, in this order; what cannot be read counts by its name."""
    whole = hashlib.sha256()
    for name, path in files:
        whole.update(f"{name}\0{_content(path)}\n".encode(errors="surrogateescape"))
    return whole.hexdigest()


def _content(path: Path) -> str:
    try:
        return sha256_of(path) if path.is_file() else ""
    except (InputError, OSError, ValueError):  # the system takes no such name
        return ""


def sha256_of(path: Path) -> str:
    """Hex SHA-256 digest of a file's bytes."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"Expected to read {path}, but {error.strerror}.") from None
