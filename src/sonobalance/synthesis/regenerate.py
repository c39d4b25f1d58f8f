"""An image made again from its record: it is a generator, a class, a seed and an index."""

from __future__ import annotations

import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sonobalance.artefacts import LARGE
from sonobalance.data.guard import check_allowed
from sonobalance.data.images import read_gray
from sonobalance.data.manifest import read_manifest
from sonobalance.errors import InputError
from sonobalance.files import read_json, read_rows, sha256_of
from sonobalance.gan.sampling import Sampler, Samples
from sonobalance.synthesis.balanced_set import INDEX
from sonobalance.synthesis.enlarger import ENLARGER, Enlarger, enlarged_pixels, load_enlarger
from sonobalance.synthesis.generator import GENERATORS, snapshot_name
from sonobalance.synthesis.interpolation import interpolate
from sonobalance.synthesis.ledger import SAMPLE, SELECTION
from sonobalance.synthesis.summary import SUMMARY


@dataclass(frozen=True)
class Remade:
    """An image made again.

    Attributes:
        pixels: (S, S) uint8.
        generator: SHA-256 of the generator that made it.
        kept: the image file it was compared with; None for a candidate that was not kept.
        different: pixels that differ from that file; 0 where there is none.
    """

    pixels: NDArray[np.uint8]
    generator: str
    kept: Path | None
    different: int


def regenerate(folder: Path, name: str, device: torch.device, bundle: Path | None = None) -> Remade:
    """Make one candidate again, accepted or not, and compare it with its file.

    Args:
        folder: run folder, its `synthesis` folder, a folder of `sample`, or an exported set.
        name: the candidate's id, such as `r1-malignant-00012`.
        device: bit-identical on the type of device that made the image first.
        bundle: generator bundle; by default the generators inside the folder.

    Raises:
        InputError: there is no such candidate, or its generator is not there.
    """
    place = folder / "synthesis" if (folder / "synthesis" / SELECTION).is_file() else folder
    kept = _file_of(place, name)
    row = text_of(kept) if kept is not None else _row_of(place, name)
    path = generator_of(row, place, bundle)
    drawn = make_again(row, Sampler.load(path, device)).pixels
    if "enlarger" in row:
        drawn = enlarged_pixels(drawn, _enlarger_of(row["enlarger"], place, bundle, device))
    pixels = drawn[0, 0].numpy()
    different = int((read_gray(kept) != pixels).sum()) if kept is not None else 0
    return Remade(pixels, sha256_of(path), kept, different)


def make_again(row: Mapping[str, str], sampler: Sampler) -> Samples:
    """One image, and its mask where the generator makes masks, from its record."""
    target, seed = sampler.classes.index(row["class"]), int(row["seed"])
    truncation, steps = float(row["truncation"]), int(row.get("interpolation") or 0)
    index = torch.tensor([int(row["index"])])
    if steps:
        return interpolate(
            sampler, target, seed=seed, steps=steps, indices=index, truncation=truncation, title=""
        )
    targets = torch.tensor([target])
    return sampler.sample(targets, seed=seed, truncation=truncation, indices=index, title="")


def _file_of(folder: Path, name: str) -> Path | None:
    """The PNG of an accepted image: named in the index of an exported set, or after its id."""
    if (folder / INDEX).is_file():
        manifest = read_manifest(folder / INDEX, folder).select([name])
        return next((manifest.file(r) for r in manifest), None)
    found = sorted(folder.rglob(f"{glob.escape(name)}.png")) if _plain(name) else []
    # masks and enlarged images have the same names
    found.sort(key=lambda path: path.relative_to(folder).parts[0] in {LARGE, "masks"})
    return found[0] if found else None


def _plain(name: str) -> bool:
    return bool(name) and not set(name) & set("/\\")


def text_of(path: Path) -> dict[str, str]:
    """The text chunks of one of our PNG files."""
    check_allowed(path)
    with Image.open(path) as image:
        text = {str(k): str(v) for k, v in getattr(image, "text", {}).items()}
    missing = {"class", "seed", "index", "generator", "truncation"} - set(text)
    if missing:
        raise InputError(
            f"Expected {path} to tell how it was made, but it lacks {sorted(missing)[0]!r}; "
            "only images that this software wrote can be made again."
        )
    return text


def _row_of(folder: Path, name: str) -> dict[str, str]:
    """The row of a candidate that was not kept."""
    path = folder / SELECTION
    if not path.is_file():
        raise InputError(
            f"Expected {name!r} among the images or candidates ({SELECTION}) in {folder}, but "
            "there is neither."
        )
    for row in read_rows(path):
        if row["id"] == name:
            return row | _settings_of(folder)
    raise InputError(f"Expected {name!r} to be a candidate in {path}, but it is not.")


def _settings_of(folder: Path) -> dict[str, str]:
    """Truncation and interpolation of a folder's candidates."""
    if (folder / SUMMARY).is_file():
        return {"truncation": str(read_json(folder / SUMMARY)["settings"]["truncation"])}
    document = read_json(folder / SAMPLE)
    return {key: str(document[key]) for key in ("truncation", "interpolation", "generator")}


def generator_of(row: Mapping[str, str], folder: Path, bundle: Path | None) -> Path:
    """The snapshot with the recorded hash (or of the recorded round, for rows without one)."""
    wanted = row.get("generator")
    for path in _snapshots(row, folder, bundle):
        if path.is_file() and wanted in (None, sha256_of(path)):
            return path
    raise InputError(
        f"Expected the generator {(wanted or 'of round ' + row['round'])[:16]} of this image, but "
        f"it is not in {bundle or folder}; give its bundle as --bundle."
    )


def _snapshots(row: Mapping[str, str], folder: Path, bundle: Path | None) -> Iterator[Path]:
    for place in _places(folder, bundle):
        yield place / snapshot_name(int(row["round"]))


def _enlarger_of(name: str, folder: Path, bundle: Path | None, device: torch.device) -> Enlarger:
    for path in (place / ENLARGER for place in _places(folder, bundle)):
        if path.is_file() and (found := load_enlarger(path, device)).name == name:
            return found
    raise InputError(
        f"Expected the enlarger {name} of this image, but it is not in {bundle or folder}; "
        "give the bundle of its generator as --bundle."
    )


def _places(folder: Path, bundle: Path | None) -> tuple[Path, ...]:
    """Where the networks of an image may lie."""
    if bundle is not None:
        return bundle, bundle / "bundle", bundle / "synthesis" / "bundle"
    return folder / GENERATORS, folder / "bundle"
