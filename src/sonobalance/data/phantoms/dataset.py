"""A whole set of phantoms on disk, with everything that is wrong with it written down."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonobalance.data.images import write_png
from sonobalance.data.phantoms.copies import COPIES
from sonobalance.data.phantoms.generator import KINDS, draw_patient, view
from sonobalance.data.phantoms.marks import Box, Gray, burn_calipers, burn_text
from sonobalance.data.phantoms.plan import Item, draw_plan
from sonobalance.errors import InputError
from sonobalance.files import read_json, unwritable, write_csv, write_json
from sonobalance.progress import track
from sonobalance.randomness import numpy_generator

FEWEST = 24
SIDES = ("x", "y", "width", "height")


@dataclass(frozen=True)
class Drawn:
    """A finished image with its lesion mask and the box of its burnt-in mark, if any."""

    item: Item
    image: Gray
    mask: np.ndarray
    box: Box | None = None


def make_phantoms(out: Path, *, images: int = 120, size_px: int = 128, seed: int = 0) -> Path:
    """Write a phantom data set in the layout of BUSI.

    `out` gets a folder per class with `benign (1).png`, `benign (1)_mask.png`, ...; `index.csv`
    (path, label, patient, mask), where every planted copy has a patient key of its own, as after
    a second export; and `truth.json`: the true patient and class of every image, the planted
    near-duplicates with kind and source, the label conflict, and the marks with kind and box.
    The folder appears as a whole or not at all; the same arguments give the same bytes. A folder
    that holds this very set already is left as it is.

    Args:
        out: folder to write; must be new or empty, or hold this set.
        images: number of images; 56 % benign, 27 % malignant, 17 % normal.
        size_px: nominal side in pixels; real sides are 0.78 to 1.15 times as long.
        seed: seed of every random choice.

    Returns:
        `out`.

    Raises:
        InputError: the numbers are too small, or the folder holds something else or cannot be
            written.
    """
    if images < FEWEST or size_px < 32:
        raise InputError(
            f"Expected at least {FEWEST} phantom images of at least 32 px, "
            f"but got images={images}, size_px={size_px}."
        )
    settings = {"images": images, "size_px": size_px, "seed": seed}
    if _holds(out, settings):
        return out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
            whole = Path(temporary) / "whole"
            _write_set(whole, settings)
            whole.replace(out)
    except OSError as error:
        raise unwritable(out, error) from error
    return out


def _holds(out: Path, settings: dict[str, int]) -> bool:
    """True when `out` is this very set; False when it is new or empty."""
    if out.is_dir() and not any(out.iterdir()):
        return False
    if not out.exists():
        return False
    truth = read_json(out / "truth.json") if (out / "truth.json").is_file() else {}
    held = truth.get("settings") if isinstance(truth, dict) else None
    if held == settings:
        return True
    what = f"phantoms of {_words(held)}" if isinstance(held, dict) else "something else"
    raise InputError(
        f"Expected {out} to be new, empty, or phantoms of {_words(settings)}, but it holds {what}; "
        "give the same numbers, choose another --out, or remove it."
    )


def _words(settings: dict[str, int]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _write_set(folder: Path, settings: dict[str, int]) -> None:
    items = draw_plan(settings["images"], settings["seed"])
    for label in KINDS:
        (folder / label).mkdir(parents=True)
    boxes: dict[str, Box] = {}
    drawn = _draw(items, settings["size_px"], settings["seed"])
    for one in track(drawn, "phantoms", len(items)):
        write_png(folder / one.item.path, one.image)
        write_png(folder / one.item.mask_path, (255 * one.mask).astype(np.uint8))
        if one.box:
            boxes[one.item.path] = one.box
    ordered = sorted(items, key=lambda item: (item.label, item.number))
    write_csv(
        folder / "index.csv", ("path", "label", "patient", "mask"),
        [(i.path, i.label, i.indexed_patient, i.mask_path) for i in ordered],
    )  # fmt: skip
    write_json(folder / "truth.json", {"settings": settings, **_truth(ordered, boxes)})


def _draw(items: list[Item], size_px: int, seed: int) -> Iterator[Drawn]:
    """Every original, each followed by its copies."""
    copies: dict[str, list[Item]] = {}
    for item in items:
        if item.source:
            copies.setdefault(item.source, []).append(item)
    for item in items:
        if item.source:
            continue
        patient = draw_patient(item.kind, numpy_generator(seed, "patient", item.patient))
        rng = numpy_generator(seed, "view", item.patient, item.view)
        image, mask = view(patient, rng, size_px)
        yield _marked(item, image, mask, rng)
        for copy in copies.get(item.path, ()):
            rng = numpy_generator(seed, "copy", copy.path)
            yield Drawn(copy, *COPIES[copy.copy_kind](image, mask, rng))


def _marked(item: Item, image: Gray, mask: np.ndarray, rng: np.random.Generator) -> Drawn:
    if item.mark == "calipers":
        image, box = burn_calipers(image, mask)
    elif item.mark == "text":
        image, box = burn_text(image, rng)
    else:
        return Drawn(item, image, mask)
    return Drawn(item, image, mask, box)


def _truth(items: list[Item], boxes: dict[str, Box]) -> dict[str, Any]:
    copies = [i for i in items if i.source]
    return {
        "images": [
            {"path": i.path, "label": i.label, "kind": i.kind, "patient": i.patient, "view": i.view}
            for i in items
        ],
        "duplicates": [{"path": i.path, "source": i.source, "kind": i.copy_kind} for i in copies],
        "label_conflicts": [
            {"path": i.path, "source": i.source} for i in copies if i.label != i.kind
        ],
        "marks": [
            {"path": i.path, "kind": i.mark, **dict(zip(SIDES, boxes[i.path], strict=True))}
            for i in items
            if i.path in boxes
        ],
    }
