"""The lesion masks of the accepted images, where the generator makes masks (`synthesize_masks`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

import torch
from torch.nn.functional import interpolate

from sonobalance.data.images import image_shape, write_png
from sonobalance.data.manifest import Manifest, Record
from sonobalance.files import digest_of, remove
from sonobalance.gan.sampling import Sampler
from sonobalance.progress import track
from sonobalance.synthesis.regenerate import generator_of, make_again, text_of

IMAGES, MASKS = "images", "masks"  # side by side, with the same names inside


def write_masks(folder: Path, sampler_of: Callable[[Mapping[str, str]], Sampler]) -> int:
    """Make each accepted image again, from what its file tells, and keep the mask made with it.

    Args:
        folder: with `images/`, as a finished `synthesis` folder or that of a sample.
        sampler_of: the generator of an image, from the text of its file; on a device of the same
            type as the images were made on, for the same result bit for bit.

    Returns:
        How many masks were written, uint8 PNG, 255 inside the lesion, each of its image's size.
    """
    remove(folder / MASKS)
    paths, written = sorted((folder / IMAGES).rglob("*.png")), 0
    for path in track(paths, "masks", len(paths)):
        row = text_of(path)
        masks = make_again(row, sampler_of(row)).masks
        if masks is not None:
            shape = image_shape(path)
            mask = interpolate(masks, size=(shape.height, shape.width))[0, 0].numpy()
            place = folder / MASKS / path.relative_to(folder / IMAGES)
            write_png(place, mask, {"synthetic": "true"})
            written += 1
    return written


def samplers_in(folder: Path, device: torch.device) -> Callable[[Mapping[str, str]], Sampler]:
    """The generators that a `synthesis` folder keeps, each read once, by the text of an image."""
    known: dict[str, Sampler] = {}

    def sampler_of(row: Mapping[str, str]) -> Sampler:
        name = row["generator"]
        if name not in known:
            known[name] = Sampler.load(generator_of(row, folder, None), device)
        return known[name]

    return sampler_of


def with_masks(accepted: Manifest) -> Manifest:
    """Accepted images, as they were drawn, with the masks that `write_masks` left beside them.

    Those that have none, as where the generator makes no masks, stay as they are.
    """
    return replace(accepted, records=tuple(_masked(r, accepted.root) for r in accepted))


def _masked(record: Record, folder: Path) -> Record:
    mask = PurePosixPath(MASKS, PurePosixPath(record.path).relative_to(IMAGES))
    if not (folder / mask).is_file():
        return record
    known = digest_of([(str(mask), folder / mask)])
    return replace(record, masks=(str(mask),), masks_sha256=known)
