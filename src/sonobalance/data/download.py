"""One file over HTTP(S): streamed, resumed by range requests, complete or absent."""

from __future__ import annotations

import http
import http.client
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from sonobalance.errors import InputError
from sonobalance.files import unwritable, write_text
from sonobalance.progress import Bar, bar
from sonobalance.version import __version__

CHUNK_BYTES = 2**18
TIMEOUT_S = 60
ATTEMPTS = 5
MIB = 2**20


class _InterruptedError(Exception):
    """The connection ended early; what arrived is kept."""


CONNECTION_ERRORS = (
    urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError,
    _InterruptedError,
)  # fmt: skip


def download(url: str, path: Path, pause_s: float = 1.0) -> None:
    """Download `url` to `path`; an interrupted download goes on where it stopped.

    What has arrived is kept beside `path` as `.NAME.part` with the server's version tag, so that
    a part of an older version is never completed by a newer one.

    Args:
        url: an http or https address.
        path: the file to write.
        pause_s: waiting time before the second attempt, seconds; doubled each time.

    Raises:
        InputError: the address is not of the web, the server refuses, or the connection fails
            `ATTEMPTS` times.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise InputError(f"Expected an http or https address, but got {url}.")
    part = path.with_name(f".{path.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error) from error
    why = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(pause_s * 2 ** (attempt - 1))
        why = _attempt(url, part)
        if not why:
            part.replace(path)
            _tag_of(part).unlink(missing_ok=True)
            return
    raise InputError(
        f"Cannot download {url} ({why}); what arrived is kept, so try again to go on from there."
    )


def _attempt(url: str, part: Path) -> str:
    """Fetch what is missing; returns why another attempt is worth while, or nothing when done."""
    try:
        _fetch(url, part)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink(missing_ok=True)  # it is not the beginning of this file
        elif error.code < 500:
            raise InputError(
                f"Expected a file at {url}, but the server answers {error.code} {error.reason}."
            ) from None
        return f"the server answers {error.code}"
    except CONNECTION_ERRORS as error:
        return str(error) or type(error).__name__
    except OSError as error:
        raise unwritable(part, error) from error
    return ""


def _fetch(url: str, part: Path) -> None:
    done = part.stat().st_size if part.is_file() else 0
    tag = _tag_of(part).read_text(encoding="utf-8") if _tag_of(part).is_file() else ""
    headers = {"User-Agent": f"sonobalance/{__version__}"}
    if done and tag:
        headers |= {"Range": f"bytes={done}-", "If-Range": tag}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - checked by `download`
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        if urlsplit(url).scheme == "https" and urlsplit(answer.url).scheme != "https":
            raise InputError(f"Expected {url} to stay on https, but it leads to {answer.url}.")
        if answer.status != 206 or not _goes_on(answer, done):
            done = 0
        _keep_tag(part, answer)
        left = answer.headers.get("Content-Length")
        total = done + int(left) if left else None
        with bar("download, MiB", (total or 0) / MIB, done / MIB) as shown:
            _write(answer, part, done, shown)
    if total is not None and part.stat().st_size < total:
        raise _InterruptedError(f"{part.stat().st_size} of {total} bytes arrived")


def _write(answer: http.client.HTTPResponse, part: Path, done: int, shown: Bar) -> None:
    with part.open("r+b" if done else "wb") as file:
        file.seek(done)
        while True:
            try:
                chunk = answer.read(CHUNK_BYTES)
            except http.client.IncompleteRead as error:
                file.write(error.partial)
                raise
            if not chunk:
                return
            file.write(chunk)
            shown.advance(len(chunk) / MIB)


def _goes_on(answer: http.client.HTTPResponse, done: int) -> bool:
    return str(answer.headers.get("Content-Range", "")).startswith(f"bytes {done}-")


def _tag_of(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _keep_tag(part: Path, answer: http.client.HTTPResponse) -> None:
    """Remember the version; weak tags cannot vouch for bytes, so such a part is not resumed."""
    tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""
    write_text(_tag_of(part), "" if tag.startswith("W/") else tag)
