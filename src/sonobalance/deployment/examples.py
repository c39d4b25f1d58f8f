"""Small TRAIN images inside a bundle, only where the owner of the data allowed it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn.functional import interpolate

from sonobalance.data.loading import LabelledImages
from sonobalance.deployment.tensors import read_tensors, write_tensors
from sonobalance.errors import InputError

FILE = "examples.safetensors"
SIDE_PX = 96


def write_examples(images: LabelledImages) -> bytes:
    """The bytes of `examples.safetensors`: (N, 1, 96, 96) uint8, in the order of the reference."""
    small = interpolate(
        images.pixels.float(), size=(SIDE_PX, SIDE_PX), mode="bilinear", antialias=True
    )
    return write_tensors({"pixels": small.round().clamp(0, 255).to(torch.uint8)})


def read_examples(files: Mapping[str, bytes], count: int) -> torch.Tensor | None:
    """The small images of a bundle; None where it has none.

    Raises:
        InputError: the file is damaged, or is not of `count` images.
    """
    if FILE not in files:
        return None
    pixels = read_tensors(files[FILE], FILE).get("pixels", torch.empty(0))
    if pixels.dtype != torch.uint8 or pixels.ndim != 4 or len(pixels) != count:
        raise InputError(f"Expected {count} images in {FILE}.")
    return pixels
