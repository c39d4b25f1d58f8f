"""Safetensors in memory: the header is checked before anything is made of it."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from sonobalance.errors import InputError

LARGEST_HEADER_BYTES = 2**22
BITS = {
    "F64": 64, "F32": 32, "F16": 16, "BF16": 16, "I64": 64, "I32": 32, "I16": 16, "I8": 8,
    "U8": 8, "BOOL": 8,
}  # fmt: skip


def read_tensors(content: bytes, where: str) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file.

    Raises:
        InputError: the header is oversized or malformed, or announces other bytes than follow it.
    """
    check_header(content, where)
    try:
        return load(content)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise InputError(f"Expected safetensors in {where}, but {error}.") from None


def write_tensors(tensors: dict[str, torch.Tensor]) -> bytes:
    """The bytes of a safetensors file."""
    return bytes(save({name: value.contiguous() for name, value in tensors.items()}))


def check_header(content: bytes, where: str) -> None:
    """Raise `InputError` unless the header is small, well-formed, and exactly covers the bytes."""
    if len(content) < 8:
        raise InputError(f"Expected safetensors in {where}, but it has {len(content)} bytes.")
    (length,) = struct.unpack("<Q", content[:8])
    if length > LARGEST_HEADER_BYTES or length > len(content) - 8:
        raise InputError(
            f"Expected a safetensors header of at most {LARGEST_HEADER_BYTES} bytes inside "
            f"{where}, but it announces {length}; get the file again."
        )
    try:
        header = json.loads(content[8 : 8 + length])
        spans = sorted(_span(entry) for name, entry in header.items() if name != "__metadata__")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        raise InputError(
            f"Expected a safetensors header in {where}, but it is malformed."
        ) from None
    end = 0
    for start, stop in spans:
        if start != end:
            raise InputError(f"Expected tensors without gap or overlap in {where}.")
        end = stop
    if end != len(content) - 8 - length:
        raise InputError(
            f"Expected {end} bytes of tensors in {where}, but there are "
            f"{len(content) - 8 - length}; get the file again."
        )


def _span(entry: dict[str, Any]) -> tuple[int, int]:
    start, stop = entry["data_offsets"]
    shape = entry["shape"]
    whole = all(type(n) is int and n >= 0 for n in (start, stop, *shape))
    if not whole or (stop - start) * 8 != math.prod(shape) * BITS[entry["dtype"]]:
        raise ValueError
    return start, stop
