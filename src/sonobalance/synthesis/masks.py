"""The lesion masks of the accepted images, where the generator makes masks (`synthesize_masks`)."""

from __future__ import annotations

from pathlib import Path

import torch

from sonobalance.data.images import write_png
from sonobalance.gan.sampling import Sampler
from sonobalance.synthesis.regenerate import generator_of, make_again, text_of

MASKS = "masks"  # beside `images`, with the same names


def write_masks(folder: Path, device: torch.device) -> int:
    """Make each accepted image again, from what its file tells, and keep the mask made with it.

    Args:
        folder: a finished `synthesis` folder.
        device: of the same type as the images were made on, for the same result bit for bit.

    Returns:
        How many masks were written, (S, S) uint8 PNG, 255 inside the lesion.
    """
    samplers: dict[Path, Sampler] = {}
    written = 0
    for path in sorted((folder / "images").rglob("*.png")):
        row = text_of(path)
        source = generator_of(row, folder, None)
        sampler = samplers.setdefault(source, Sampler.load(source, device))
        masks = make_again(row, sampler).masks
        if masks is not None:
            write_png(folder / MASKS / path.parent.name / path.name, masks[0, 0].numpy())
            written += 1
    return written
