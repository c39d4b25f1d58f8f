"""The datasheet of an exported set (questions after Gebru et al. 2021, CACM 64:86)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sonobalance.data.catalogue import ENTRIES, Entry
from sonobalance.version import __version__

DOCUMENT = "DATASHEET.md"
UNKNOWN_LICENCE = "Not stated. Ask the owner of the source set before you pass this set on."
UNKNOWN_SOURCE = "The user's own set; describe its acquisition, devices and patients here."
LIMITS = (
    "Synthetic images are mixtures of TRAIN images of one class: they add no patients, devices or "
    "pathology that TRAIN lacks, and inherit its biases and wrong labels.",
    "They are smaller and coarser than real ones; texture and fine spicules are not to be trusted.",
    "They carry no lesion masks and no burnt-in marks.",
    "They may train a classifier; validating or testing on them measures the generator, not the "
    "classifier.",
    "A classifier can learn to tell real from synthetic images and take that for a class where the "
    "classes hold different shares of them.",
)


def known_source(counts: Mapping[str, int]) -> Entry | None:
    """The published set with exactly these images per class, if there is one."""
    return next((e for e in ENTRIES if e.counts and dict(e.counts) == dict(counts)), None)


def datasheet(
    *,
    name: str,
    source: Entry | None,
    licence: str,
    counts: Mapping[tuple[str, str], int],
    parts: Sequence[str],
    real: str,
    synthesis: Mapping[str, Any],
    date: str,
) -> str:
    """The text, in Markdown.

    Args:
        name: of the set.
        source: the published set it was made from, where recognised.
        licence: terms of the source set.
        counts: (class, origin) → images in TRAIN.
        parts: exported parts.
        real: copy, link or leave-out.
        synthesis: content of `synthesis.json`.
        date: ISO 8601.
    """
    labels = sorted({label for label, _ in counts})
    rows = "\n".join(
        f"| {label} | {counts.get((label, 'real'), 0)} | {counts.get((label, 'synthetic'), 0)} |"
        for label in labels
    )
    closes = "\n".join(
        f"- {gate.replace('_', ' ')}: at least {t['value']:.3f}. {t['rule']}"
        for gate, t in synthesis["thresholds"].items()
    )
    cite = f"\nCite: {source.citation}" if source else ""
    limits = "\n".join(f"- {sentence}" for sentence in LIMITS)
    presence = {
        "copy": "Real images are copies of the source files.",
        "link": "Real images are links into the source folder and vanish with it.",
        "leave-out": "Real images are left out: this folder holds the synthetic ones alone.",
    }[real]
    return f"""# Datasheet: {name}

Research data, not for clinical use. Written {date} by sonobalance {__version__}.

## What it is

A training set of breast ultrasound or similar images in which rare classes were filled up with
synthetic images. {presence} Parts: {", ".join(parts)}; synthetic images are in TRAIN only.

| class (TRAIN) | real | synthetic |
|---|---|---|
{rows}

Synthetic images are marked three times: `(synthetic n)` or `synthetic-` in the file name,
`origin=synthetic` in `index.csv`, and `synthetic=true` with class, seed, generator and nearest real
image in the text chunks of the PNG.

## From which data

{source.title if source else UNKNOWN_SOURCE}

Licence of the source set: {licence}
A synthetic image is derived from real ones; the terms of the source set reach it too.{cite}

SHA-256 of the TRAIN images the generator learnt from: `{synthesis["hashes"]["train"]}`

## How it was made

A class-conditional GAN was trained on TRAIN alone (`{synthesis["hashes"]["generator"]}`).
{synthesis["candidates"]} candidates were made and {synthesis["accepted"]} accepted by these gates,
each calibrated on real TRAIN images:

{closes}

The loop stopped: {synthesis["stop_reason"]} {synthesis["sentence"]}

## Known limits

{limits}

## Uses

Training of classifiers, with and without the synthetic images, measured on real images of other
patients. Not for: diagnosis, validation, testing, prevalence, or identification of people.
"""
