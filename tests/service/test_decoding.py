"""Decoders that die or hang are replaced, and only their upload is refused."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys

import pytest

from sonobalance.config import ServiceSettings
from sonobalance.service.decoding import Decoder, Undecodable, decode_upload

LARGE = 3 * 2**30  # bytes; a decoder may take two GiB


def misbehaves(content, side, megapixels, preview):
    """Runs in the process: does what the upload says."""
    if content == b"hang":
        signal.pause()
    if content == b"die":
        os.kill(os.getpid(), signal.SIGKILL)
    if content == b"devour":
        try:
            return str(len(bytearray(LARGE)))
        except MemoryError:
            return "Expected an image that needs less memory; shrink it."
    return decode_upload(content, side, megapixels, preview)


@pytest.fixture(scope="module")
def decoder():
    made = Decoder(ServiceSettings(decoders=1, decode_seconds=3.0), 32, misbehaves)
    yield made
    made.close()


def run(decoder, content):
    return asyncio.run(decoder.decode(content, preview=True))


def test_what_is_decoded_is_letterboxed_and_shown(decoder, png):
    found = run(decoder, png(1600, 400))
    assert found.square.shape == (32, 32)
    assert (found.width, found.height, found.frames) == (400, 1600, 1)
    assert found.preview.startswith(b"\x89PNG")


def test_a_decoder_that_dies_at_work_is_replaced(decoder, png):
    with pytest.raises(Undecodable, match="failed") as caught:
        run(decoder, b"die")
    assert caught.value.reason == "killed"
    assert run(decoder, png()).width == 80


def test_a_decoder_that_is_killed_while_it_waits_is_replaced_unnoticed(decoder, png):
    process = decoder.workers[0].process
    process.kill()
    process.join()
    assert run(decoder, png()).width == 80


def test_a_decoder_that_hangs_is_ended(decoder, png):
    with pytest.raises(Undecodable, match="within 3 s"):
        run(decoder, b"hang")
    assert run(decoder, png()).width == 80


CROWDED = """
import mmap, resource, sys
from sonobalance.service.decoding import confine, decode_upload
reserved = mmap.mmap(-1, 3 * 2**30, prot=0)  # as the threads of a machine with many cores do
confine(512)
found = decode_upload(sys.stdin.buffer.read(), 32, 50.0, False)
assert found.square.shape == (32, 32), found
try:
    bytearray(2**30)
except MemoryError:
    print("bounded")
"""


def test_what_the_libraries_reserve_is_not_taken_from_the_uploads(png):
    words = [sys.executable, "-c", CROWDED]
    done = subprocess.run(words, input=png(900, 900), capture_output=True, check=False)
    assert done.stdout == b"bounded\n", done.stderr


def test_memory_is_bounded_beside_what_the_process_has(decoder):
    assert misbehaves(b"devour", 32, 1.0, False) == str(LARGE)  # nothing else forbids it
    with pytest.raises(Undecodable, match="less memory"):
        run(decoder, b"devour")


@pytest.mark.parametrize("content", [b"hello", b""])
def test_no_image(decoder, content):
    with pytest.raises(Undecodable, match="upload") as caught:
        run(decoder, content)
    assert caught.value.reason == "no image"
