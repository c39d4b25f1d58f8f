"""Uploads are decoded by processes that may be killed: by a time limit, a memory limit, or at all.

A decoder gets bytes and gives back a letterboxed square and, when asked, a small PNG for display.
Each has a pipe of its own, so that one that dies takes nothing with it: it is replaced, and only
the upload it worked on is refused. Bytes and JSON cross the pipes, never a pickle.
"""

from __future__ import annotations

import asyncio
import io
import json
import multiprocessing
import queue
import resource
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sonobalance.classify.colour import with_colour
from sonobalance.config.service import ServiceSettings
from sonobalance.data.images import letterbox, read_upload
from sonobalance.errors import SonobalanceError

PREVIEW_PX = 768
STATM = Path("/proc/self/statm")
TASKS_PER_PROCESS = 2000  # then it is replaced, so that no decoder's leak grows
START_SECONDS = 120
READY = b"ready"
PAGE = ("width", "height", "frames", "colour")  # of an answer, beside its two images


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
        colour: share of clearly coloured pixels of the picture.
    """

    square: NDArray[np.uint8]
    width: int
    height: int
    frames: int
    preview: bytes
    colour: float


Work = Callable[[bytes, int, float, bool], "Decoded | str"]


class Decoder:
    """A pool of decoding processes."""

    def __init__(self, settings: ServiceSettings, side: int, work: Work | None = None) -> None:
        self.side, self.seconds = side, settings.decode_seconds
        order = (work or decode_upload, side, settings.max_megapixels, settings.decoder_memory_mib)
        self.workers = [Worker(*order) for _ in range(settings.decoders)]
        self.free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self.workers:
            self.free.put(worker)
        self.threads = ThreadPoolExecutor(settings.decoders, "decoder")
        self.open = True

    @property
    def ready(self) -> bool:
        """Whether a decoder has started and none would be asked after the end."""
        return self.open and any(worker.ready for worker in self.workers)

    async def decode(self, content: bytes, *, preview: bool = False) -> Decoded:
        """Decode an upload in one of the processes.

        Raises:
            Undecodable: it is no image, too large, takes too long, or kills its process.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, self._decode, content, preview)

    def close(self) -> None:
        """End the processes; nothing may be decoding any more."""
        self.open = False
        self.threads.shutdown()
        for worker in self.workers:
            worker.end()

    def _decode(self, content: bytes, preview: bool) -> Decoded:
        worker = self.free.get()
        try:
            return worker.ask(content, self.seconds, preview=preview)
        finally:
            self.free.put(worker)


class Worker:
    """One process and the pipe to it."""

    def __init__(self, work: Work, side: int, megapixels: float, memory_mib: int) -> None:
        self.order, self.side = (work, side, megapixels, memory_mib), side
        self._start()

    def ask(self, content: bytes, seconds: float, *, preview: bool) -> Decoded:
        """Decode; raises as `Decoder.decode`."""
        if self.asked >= TASKS_PER_PROCESS or not self.process.is_alive():
            self._restart()
        self.asked += 1
        try:
            self._await_start()
            self.pipe.send_bytes(b"1" if preview else b"0")
            self.pipe.send_bytes(content)
            if not self.pipe.poll(seconds):
                raise TimeoutError
            page = json.loads(self.pipe.recv_bytes())
            if "error" in page:
                raise Undecodable(page["error"], "no image")
            square = np.frombuffer(bytearray(self.pipe.recv_bytes()), np.uint8)
            shown = self.pipe.recv_bytes()
        except TimeoutError:
            self._restart()
            raise Undecodable(
                f"Expected an image that can be decoded within {seconds:g} s.", "slow"
            ) from None
        except (EOFError, OSError):
            self._restart()
            raise Undecodable("Expected an image, but decoding it failed.", "killed") from None
        square = square.reshape(self.side, self.side)
        return Decoded(square, preview=shown[1:], **page)

    @property
    def ready(self) -> bool:
        """Whether the process has said that it is."""
        try:
            return self.started or self.pipe.poll(0)
        except OSError:  # it is being replaced at this moment
            return False

    def end(self) -> None:
        """End the process at once."""
        self.pipe.close()
        self.process.kill()
        self.process.join()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve_pipe, args=(theirs, *self.order), daemon=True)
        self.process.start()
        theirs.close()
        self.asked, self.started = 0, False

    def _restart(self) -> None:
        self.end()
        self._start()

    def _await_start(self) -> None:
        if not self.started and (
            not self.pipe.poll(START_SECONDS) or self.pipe.recv_bytes() != READY
        ):
            raise TimeoutError
        self.started = True


def serve_pipe(pipe: Connection, work: Work, side: int, megapixels: float, memory_mib: int) -> None:
    """The life of a decoding process."""
    cv2.setNumThreads(1)  # others would reserve memory once the limit is set
    confine(memory_mib)
    pipe.send_bytes(READY)
    while True:
        try:
            preview, content = pipe.recv_bytes() == b"1", pipe.recv_bytes()
        except EOFError:
            return
        found = work(content, side, megapixels, preview)
        if isinstance(found, str):
            pipe.send_bytes(json.dumps({"error": found}).encode())
            continue
        pipe.send_bytes(json.dumps({name: getattr(found, name) for name in PAGE}).encode())
        pipe.send_bytes(np.ascontiguousarray(found.square).tobytes())
        pipe.send_bytes(b"+" + found.preview)


def confine(memory_mib: int) -> None:
    """Limit what this process may take from now on, write no core, leave Ctrl-C to the service.

    What it has is counted by address space, of which the threads of the libraries alone reserve
    much for each core of the machine without using it: the limit comes on top of that.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "darwin":  # which refuses such a limit
        limit, most = _reserved() + memory_mib * 2**20, resource.getrlimit(resource.RLIMIT_AS)[1]
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _reserved() -> int:
    """Bytes of address space of this process; 0 where the system does not tell."""
    try:
        pages = int(STATM.read_text().split()[0])
    except OSError:
        return 0
    return pages * resource.getpagesize()


def decode_upload(
    content: bytes, side: int, megapixels: float, preview: bool, clean: bool = False
) -> Decoded | str:
    """Decode in this process; the reason as a sentence where that fails."""
    try:
        read = partial(read_upload, content, max_megapixels=megapixels)
        (gray, shape), colour = with_colour(read, clean=clean)
        shown, (height, width) = preview_of(gray) if preview else b"", gray.shape
        return Decoded(letterbox(gray, side), width, height, shape.frames, shown, colour)
    except SonobalanceError as error:
        return " ".join(str(error).split())
    except MemoryError:
        return "Expected an image that needs less memory; shrink it."
    except Exception as error:  # noqa: BLE001 - a traceback on stderr may quote the upload
        return f"Expected an image, but decoding it failed ({type(error).__name__})."


def preview_of(gray: NDArray[np.uint8]) -> bytes:
    """A PNG for display."""
    image = Image.fromarray(gray)
    image.thumbnail((PREVIEW_PX, PREVIEW_PX))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
