"""The balanced set as a product: files, datasheet, metadata and loader examples in one folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from sonobalance.artefacts import ACCEPTED, LARGE, as_seen, was_cleaned
from sonobalance.chain import check_chain
from sonobalance.data.cleaning import cleaned, cleaning
from sonobalance.data.manifest import Manifest
from sonobalance.data.split import Part, Splits
from sonobalance.errors import InputError
from sonobalance.files import check_new, read_json, remove, unwritable, write_json, write_text
from sonobalance.runs import open_run
from sonobalance.synthesis import croissant, datasheet
from sonobalance.synthesis.balanced_set import (
    Item,
    Layout,
    Real,
    counts_of,
    plan_set,
    write_set,
)
from sonobalance.synthesis.masks import with_masks
from sonobalance.synthesis.summary import SUMMARY, training_images

LOADERS = ("load_torchvision.py", "load_monai.py", "load_datasets.py")


@dataclass(frozen=True)
class Wish:
    """How a set is exported.

    Attributes:
        layout, real: see `balanced_set`.
        parts: TRAIN alone, or all three parts.
        every_round: all accepted images, whatever the harm guard says.
        drawn: synthetic images as they were drawn, also where they were enlarged.
        licence: terms of the source set; empty to recognise published sets.
        name: of the new set.
    """

    layout: Layout
    real: Real
    parts: Literal["train", "all"]
    every_round: bool
    drawn: bool
    licence: str
    name: str


def export_set(splits: Splits, synthesis: Path, out: Path, wish: Wish, date: str) -> str:
    """Write the set; the folder is whole or absent.

    Real images of a run with `clean_marks` are cleaned: marks on them alone would tell real from
    synthetic.

    Args:
        splits: real images and their parts.
        synthesis: RUN/synthesis; the settings of that run are read.
        out: new or empty folder.
        wish: how.
        date: ISO 8601, of the run.

    Returns:
        What was written, one sentence.

    Raises:
        InputError: `out` is not empty, no synthesis was done, or a file cannot be used.
        LeakError: a synthetic image stands in VAL or TEST.
        StaleError: the parts changed since, or the synthesis was cut off.
    """
    out, run = out.absolute(), open_run(synthesis.parent)
    check_new(out)
    check_chain(run, (ACCEPTED,))
    made = with_masks(training_images(synthesis, every_round=wish.every_round))
    summary = read_json(synthesis / SUMMARY)
    made = made if wish.drawn else as_seen(made)
    parts: tuple[Part, ...] = ("train", "val", "test") if wish.parts == "all" else ("train",)
    with cleaned(was_cleaned(run, "synthesize"), leave=[synthesis]):
        items = plan_set(splits, made, parts, wish.layout, wish.real)
        if not items:
            raise InputError(
                "Expected images to export, but the harm guard keeps none and real ones are left "
                "out; give --every-round."
            )
        with _whole(out) as staging:
            write_set(items, staging, wish.real)
            _describe(
                staging, items, source=splits.manifest, summary=summary, wish=wish, parts=parts,
                date=date,
            )  # fmt: skip
    return _sentence(items, summary, wish)


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """Yield a new folder beside `out`; on success it replaces `out`, on failure it vanishes."""
    staging = out.with_name(f".{out.name}.part")
    remove(staging)
    try:
        yield staging
        if out.exists():
            out.rmdir()
        staging.replace(out)
    except OSError as error:
        raise unwritable(out, error) from error
    finally:
        remove(staging)


def _describe(
    folder: Path,
    items: list[Item],
    *,
    source: Manifest,
    summary: dict[str, Any],
    wish: Wish,
    parts: tuple[Part, ...],
    date: str,
) -> None:
    known = datasheet.known_source(source.counts)
    licence = wish.licence or (known.licence if known else datasheet.UNKNOWN_LICENCE)
    counts, masked = counts_of(items), counts_of(items, masked=True)
    sheet = datasheet.datasheet(
        name=wish.name, source=known, licence=licence, counts=counts, masked=masked, parts=parts,
        real="cleaned" if cleaning() and wish.real != "leave-out" else wish.real,
        synthesis=summary, date=date,
        enlarged=any(
            item.record.origin == "synthetic" and item.file.parent.parent.name == LARGE
            for item in items
        ),
    )  # fmt: skip
    write_text(folder / datasheet.DOCUMENT, sheet)
    write_json(folder / croissant.DOCUMENT, croissant.croissant(
        folder, name=wish.name, licence=licence, date=date,
        limits=datasheet.limits(counts, masked), masks=datasheet.whose_masks(counts, masked),
        description="Real images and, in TRAIN, synthetic ones that fill up the rare classes. "
        "Research data, not for clinical use.",
        citation=known.citation if known else "",
    ))  # fmt: skip
    for loader in LOADERS:
        text = files("sonobalance.synthesis.loaders").joinpath(loader).read_text("utf-8")
        write_text(folder / loader, text)


def _sentence(items: list[Item], summary: dict[str, Any], wish: Wish) -> str:
    origins = Counter(item.record.origin for item in items)
    text = f"{origins['real']} real and {origins['synthetic']} synthetic images were exported."
    if not wish.every_round and summary["harm_guard"]:
        left_out = summary["accepted"] - origins["synthetic"]
        if left_out:
            text += (
                f" The harm guard left {left_out} accepted images out (best round "
                f"{summary['best_round']}); --every-round takes them all."
            )
    return text
