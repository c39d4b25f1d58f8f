"""The datasheet of an exported set (questions after Gebru et al. 2021, CACM 64:86)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sonobalance.data.catalogue import ENTRIES, Entry
from sonobalance.version import __version__

Counts = Mapping[tuple[str, str], int]  # (class, origin) → images
DOCUMENT = "DATASHEET.md"
UNKNOWN_LICENCE = "Not stated. Ask the owner of the source set before you pass this set on."
UNKNOWN_SOURCE = "The user's own set; describe its acquisition, devices and patients here."
PRESENCE = {
    "copy": "Real images are copies of the source files, or of their pixels as PNG where readers "
    "differ about a file.",
    "link": "Real images are links into the source folder and vanish with it; where readers differ "
    "about a file, its pixels as PNG.",
    "cleaned": "Real images, of every part, are PNG files in which burnt-in marks (calipers, text, "
    "colour) were painted over, as in the images that the generator learnt from.",
    "leave-out": "Real images are left out: this folder holds the synthetic ones alone.",
}
LIMITS = (
    "Synthetic images are mixtures of TRAIN images of one class: they add no patients, devices or "
    "pathology that TRAIN (and with `gan.init` the set before it) lacks, and inherit its biases "
    "and wrong labels.",
    "They are smaller and coarser than real ones; texture and fine spicules are not to be trusted.",
    "Nothing looked for burnt-in marks in them: a generator that learnt from images with calipers "
    "or text (no `clean_marks`) may imitate these.",
    "They may train; validating or testing on them measures the generator, not what was trained.",
    "A classifier can learn to tell real from synthetic images and take that for a class where the "
    "classes hold different shares of them.",
)
GENERATED_MASKS = (
    "The lesion masks of synthetic images are the generator's, made together with the image: "
    "nobody outlined these lesions, no gate looked at the masks, and they are as coarse as the "
    "image was drawn."
)
NO_MASKS = "Synthetic images have no lesion masks."


def known_source(counts: Mapping[str, int]) -> Entry | None:
    """The published set with exactly these images per class, if there is one."""
    return next((e for e in ENTRIES if e.counts and dict(e.counts) == dict(counts)), None)


def whose_masks(counts: Counts, masked: Counts) -> str:
    """What is true of the masks of synthetic images, in words; empty where there is no such image.

    Args:
        counts: (class, origin) → images in TRAIN.
        masked: the same, of those with a lesion mask.
    """
    made, with_one = of_origin(counts, "synthetic"), of_origin(masked, "synthetic")
    if not made:
        return ""
    if not with_one:
        return NO_MASKS
    some = "" if with_one == made else f" {made - with_one} of {made} synthetic images have none."
    return GENERATED_MASKS + some


def limits(counts: Counts, masked: Counts) -> tuple[str, ...]:
    """Known limits of a set with these images and masks, one sentence or more each."""
    return (*LIMITS, *filter(None, [whose_masks(counts, masked)]))


def of_origin(counts: Counts, origin: str) -> int:
    """How many of the counted images are real, or synthetic."""
    return sum(n for (_, whose), n in counts.items() if whose == origin)


def datasheet(
    *,
    name: str,
    source: Entry | None,
    licence: str,
    counts: Counts,
    masked: Counts,
    parts: Sequence[str],
    real: str,
    synthesis: Mapping[str, Any],
    enlarged: bool,
    date: str,
) -> str:
    """The text, in Markdown.

    Args:
        name: of the set.
        source: the published set it was made from, where recognised.
        licence: terms of the source set.
        counts: (class, origin) → images in TRAIN.
        masked: the same, of those with a lesion mask.
        parts: exported parts.
        real: copy, link, leave-out, or cleaned: written without burnt-in marks.
        synthesis: content of `synthesis.json`.
        enlarged: whether synthetic images were brought to the classifier's side.
        date: ISO 8601.
    """
    environment = Environment(  # noqa: S701 - Markdown, no HTML
        loader=PackageLoader("sonobalance", "synthesis"), undefined=StrictUndefined,
        trim_blocks=True, keep_trailing_newline=True,
    )  # fmt: skip
    return environment.get_template("datasheet.md.j2").render(
        name=name, source=source, unknown_source=UNKNOWN_SOURCE, licence=licence, counts=counts,
        labels=sorted({label for label, _ in counts}), parts=parts, presence=PRESENCE[real],
        synthesis=synthesis, enlarged=enlarged, date=date, limits=limits(counts, masked),
        version=__version__, outlined={o: of_origin(masked, o) for o in ("real", "synthetic")},
        total={o: of_origin(counts, o) for o in ("real", "synthetic")},
    )  # fmt: skip
