"""Every random choice derives from (seed, name, step), so that resuming needs no generator state.

torch is imported when it is first needed, so that stages that only count stay free of it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on `seed` and every name; stable across machines and versions."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator seeded by `derive`."""
    return np.random.default_rng(derive(seed, *names))


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """A torch generator of the CPU, seeded by `derive`."""
    import torch  # noqa: PLC0415

    return torch.Generator().manual_seed(derive(seed, *names))


def seed_torch(seed: int, *names: str | int) -> None:
    """Seed torch's global generator by `derive` (dropout, initialisation)."""
    import torch  # noqa: PLC0415

    torch.manual_seed(derive(seed, *names))
