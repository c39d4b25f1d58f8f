"""The body of a request as bytes: counted while it arrives, kept in memory, never on disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from sonobalance.config.service import ServiceSettings
from sonobalance.service.gate import Turned

FORM = "multipart/form-data"
OVERHEAD = 4096  # bytes of a form around the file
TYPES = ("application/octet-stream", "image/png", "image/jpeg", "image/tiff", "application/dicom")
BODY = {
    "requestBody": {
        "required": True,
        "description": "The image itself, or a form with one field `file`.",
        "content": {
            **{kind: {"schema": {"type": "string", "format": "binary"}} for kind in TYPES},
            FORM: {"schema": {
                "type": "object", "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }},
        },
    },
}  # fmt: skip


async def read_image(request: Request, settings: ServiceSettings) -> bytes:
    """The bytes of the uploaded image.

    Raises:
        Turned: 400 for a form without a file, 408 too slow, 413 too large.
    """
    limit = int(settings.max_upload_mib * 2**20)
    form = request.headers.get("content-type", "").lower().startswith(FORM)
    try:
        async with asyncio.timeout(settings.upload_seconds):
            body = await _read(request, limit + (OVERHEAD if form else 0), settings)
    except TimeoutError:
        raise Turned(408, "The upload took too long.") from None
    except ClientDisconnect:
        raise Turned(400, "The upload ended early.") from None
    content = await _file_of(request, body) if form else body
    if len(content) > limit:
        raise _too_large(settings)
    return content


async def _read(request: Request, limit: int, settings: ServiceSettings) -> bytes:
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced[:20]) > limit:
        raise _too_large(settings)
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise _too_large(settings)
        parts.append(part)
    return b"".join(parts)


async def _file_of(request: Request, body: bytes) -> bytes:
    """The file of a form; the parser's spool is larger than any body, so it stays in memory."""

    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = MultiPartParser(request.headers, stream(), max_files=1, max_fields=8)
    parser.spool_max_size = len(body) + 1
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError, AssertionError):
        raise Turned(400, "Expected a sound form with one field `file`.") from None
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise Turned(400, "Expected a form with one field `file`.")
        return await file.read()
    finally:
        await form.close()


def _too_large(settings: ServiceSettings) -> Turned:
    return Turned(413, f"Expected an upload of at most {settings.max_upload_mib:g} MiB.")
