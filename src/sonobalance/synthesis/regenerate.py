"""Any candidate made again from its row: an image is a generator, a seed and an index."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from sonobalance.errors import InputError
from sonobalance.files import read_json
from sonobalance.gan.sampling import Sampler
from sonobalance.synthesis.generator import GENERATORS, snapshot_name
from sonobalance.synthesis.ledger import SELECTION
from sonobalance.synthesis.summary import SUMMARY


def regenerate(folder: Path, name: str, device: torch.device) -> NDArray[np.uint8]:
    """The pixels of one candidate, accepted or not.

    Args:
        folder: RUN/synthesis, with the generators of its rounds.
        name: the candidate's id, such as `r1-malignant-00012`.
        device: bit-identical on the type of device that made the image first.

    Returns:
        (S, S) uint8.

    Raises:
        InputError: there is no such candidate, or a file is missing.
    """
    row = _row_of(folder / SELECTION, name)
    sampler = Sampler.load(folder / GENERATORS / snapshot_name(int(row["round"])), device)
    samples = sampler.sample(
        torch.tensor([sampler.classes.index(row["class"])]),
        seed=int(row["seed"]),
        truncation=float(read_json(folder / SUMMARY)["settings"]["truncation"]),
        indices=torch.tensor([int(row["index"])]),
    )
    pixels: NDArray[np.uint8] = samples.pixels[0, 0].numpy()
    return pixels


def _row_of(path: Path, name: str) -> dict[str, str]:
    if not path.is_file():
        raise InputError(f"Expected candidates at {path}, but there are none; run `synthesize`.")
    with path.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle):
            if row["id"] == name:
                return row
    raise InputError(f"Expected {name!r} to be a candidate in {path}, but it is not.")
