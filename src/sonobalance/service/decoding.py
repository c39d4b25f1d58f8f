"""Uploads are decoded by processes that may be killed: by a time limit, a memory limit, or at all.

A decoder gets bytes and gives back a letterboxed square and, when asked, a small PNG for display; a
process that dies or hangs is replaced, and only the upload it worked on is refused.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import resource
import signal
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pebble import ProcessExpired, ProcessPool
from PIL import Image

from sonobalance.config.service import ServiceSettings
from sonobalance.data.images import letterbox, read_upload
from sonobalance.errors import SonobalanceError

PREVIEW_PX = 768
TASKS_PER_PROCESS = 2000  # then it is replaced, so that no decoder's leak grows


class Undecodable(Exception):  # noqa: N818 - the client's fault, not an error of ours
    """An upload that is no image that can be read; `reason` is a word for the metrics."""

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Decoded:
    """A decoded upload.

    Attributes:
        square: (S, S) uint8, letterboxed.
        width, height: native size, pixels.
        frames: number of frames; the middle one was taken.
        preview: PNG of the grey image, at most `PREVIEW_PX` wide or high; empty unless asked for.
    """

    square: NDArray[np.uint8]
    width: int
    height: int
    frames: int
    preview: bytes


class Decoder:
    """A pool of decoding processes."""

    def __init__(self, settings: ServiceSettings, side: int) -> None:
        self.side, self.megapixels = side, settings.max_megapixels
        self.seconds = settings.decode_seconds
        self.pool = ProcessPool(
            max_workers=settings.decoders, max_tasks=TASKS_PER_PROCESS, initializer=confine,
            initargs=(settings.decoder_memory_mib,), context=multiprocessing.get_context("spawn"),
        )  # fmt: skip

    async def decode(self, content: bytes, *, preview: bool = False) -> Decoded:
        """Decode an upload in one of the processes.

        Raises:
            Undecodable: it is no image, too large, takes too long, or kills its process.
        """
        job = self.pool.schedule(
            decode_upload, args=(content, self.side, self.megapixels, preview), timeout=self.seconds
        )
        try:
            found = await asyncio.wrap_future(job)
        except (TimeoutError, FutureTimeoutError):
            raise Undecodable(
                f"Expected an image that can be decoded within {self.seconds:g} s.", "slow"
            ) from None
        except ProcessExpired:
            raise Undecodable("Expected an image, but decoding it failed.", "killed") from None
        if isinstance(found, str):
            raise Undecodable(found, "no image")
        return found

    def close(self) -> None:
        """End the processes; nothing may be decoding any more."""
        self.pool.stop()
        self.pool.join(timeout=5)


def confine(memory_mib: int) -> None:
    """Limit this process's memory, write no core, leave Ctrl-C to the service."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_mib * 2**20, memory_mib * 2**20))


def decode_upload(content: bytes, side: int, megapixels: float, preview: bool) -> Decoded | str:
    """Decode in this process; the reason as a sentence where that fails."""
    try:
        gray, shape = read_upload(content, max_megapixels=megapixels)
        shown = preview_of(gray) if preview else b""
        return Decoded(letterbox(gray, side), gray.shape[1], gray.shape[0], shape.frames, shown)
    except SonobalanceError as error:
        return " ".join(str(error).split())
    except MemoryError:
        return "Expected an image that needs less memory; shrink it."


def preview_of(gray: NDArray[np.uint8]) -> bytes:
    """A PNG for display."""
    image = Image.fromarray(gray)
    image.thumbnail((PREVIEW_PX, PREVIEW_PX))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
