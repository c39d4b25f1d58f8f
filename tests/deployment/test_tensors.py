"""Headers of safetensors, from sound to hostile."""

from __future__ import annotations

import json
import struct
from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sonobalance.deployment.tensors import read_tensors, write_tensors
from sonobalance.errors import InputError


def made(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def one(start: int = 0, stop: int = 8, shape: object = (2,), dtype: object = "F32") -> dict:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}}


def test_there_and_back():
    tensors = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor([True, False])}
    back = read_tensors(write_tensors(tensors), "x")
    assert all((back[name] == value).all() for name, value in tensors.items())


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "0 bytes"),
        (struct.pack("<Q", 2**63) + b"{}", "announces 9223372036854775808"),
        (struct.pack("<Q", 2**22 + 1) + bytes(2**22 + 1), "announces 4194305"),
        (struct.pack("<Q", 3) + b"{}", "announces 3"),
        (made(b"[" * 5000), "malformed"),
        (made([1]), "malformed"),
        (made({"a": 1}), "malformed"),
        (made(one(dtype="Q9"), bytes(8)), "malformed"),
        (made(one(shape=[3]), bytes(8)), "malformed"),
        (made(one(shape=[-2]), bytes(8)), "malformed"),
        (made(one(shape=[2**40, 2**40]), bytes(8)), "malformed"),
        (made(one(shape=[True]), bytes(4)), "malformed"),
        (made(one(8, 16), bytes(16)), "gap"),
        (made(one(), bytes(7)), "bytes of tensors"),
        (made(one(), bytes(9)), "bytes of tensors"),
        (made({**one(), "b": one()["a"]}, bytes(8)), "gap or overlap"),
    ],
)
def test_hostile_headers_get_one_sentence(content, match):
    with pytest.raises(InputError, match=match):
        read_tensors(content, "x")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_are_refused_or_read(content, framed):
    with suppress(InputError):
        read_tensors(made(content) if framed else content, "x")
