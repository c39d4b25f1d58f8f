"""What a bundle knows about images unlike those of TRAIN: `classify.stranger` as a file."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from sonobalance.classify.stranger import Stranger
from sonobalance.deployment.tensors import read_tensors, write_tensors

FILE = "stranger.safetensors"


def write_stranger(stranger: Stranger) -> bytes:
    """The bytes of `stranger.safetensors`."""
    return write_tensors({k: torch.from_numpy(v) for k, v in stranger.tensors().items()})


def read_stranger(files: Mapping[str, bytes]) -> Stranger | None:
    """What the bundle finds familiar; None where it has no such file.

    Raises:
        InputError: the file is damaged.
    """
    if FILE not in files:
        return None
    return Stranger.of_tensors(read_tensors(files[FILE], FILE), FILE)
