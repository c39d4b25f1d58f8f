"""Does a folder of synthetic images, ours or not, hold copies of a folder of real ones?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import InputError
from sonobalance.files import write_csv, write_json
from sonobalance.synthesis.image_folders import FoundImages, find_images, find_real
from sonobalance.synthesis.likeness import compare, describe, without_bars
from sonobalance.synthesis.neighbours import Neighbours, by_features, by_pixels, by_structure
from sonobalance.synthesis.novelty import Novelty

TABLE, NEIGHBOURS, DOCUMENT = "memorisation.csv", "neighbours.csv", "memorisation.json"
SHOWN = 10


@dataclass(frozen=True, slots=True)
class Nearest:
    """One synthetic image: a row of `memorisation.csv`.

    Attributes:
        file: its path below the synthetic folder.
        nearest: path of the nearest real image below the real folder, of a clip `path#frame`; of a
            run, a table or an archive, below the folder that its paths start from.
        distance: 1 - likeness, in [0, 1]; 0 for a copy.
        ratio: distance over the median distance of real images to their nearest other one.
        copy: whether the distance is below the threshold.
    """

    file: str
    nearest: str
    distance: float
    ratio: float
    copy: bool


def audit_memorisation(
    synthetic: Path,
    real: Path,
    out: Path,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Compare every synthetic image with every real one.

    Writes `memorisation.csv` (a row per synthetic image), `neighbours.csv` (the nearest real image
    by structure, grey values and features) and `memorisation.json`.

    Args:
        synthetic: folder of images, searched below; lesion masks are left out.
        real: the images that the generator was trained with: whatever `index` reads, a run, or any
            folder of images.
        out: where the files are written.
        seed: of the altered copies that the threshold is checked with.
        device: where likeness is computed.

    Returns:
        The content of `memorisation.json`.

    Raises:
        InputError: a folder holds no readable image, or the real one fewer than two of different
            clips and patients.
    """
    made = find_images(synthetic, synthetic_only=True)
    known = find_real(real, without=synthetic)
    if (unrelated := len(set(known.groups))) < 2:
        raise InputError(f"Expected two or more unrelated real images in {real}, not {unrelated}.")
    novelty = _calibrated(known, seed, device)
    measures = _measured(made, known, novelty)
    rows = _rows(made, known, measures[0], novelty.threshold.value)
    document = _document(rows, novelty, measures, made, known)
    _write_table(out / TABLE, rows)
    _write_neighbours(out / NEIGHBOURS, made, known, measures)
    write_json(out / DOCUMENT, document)
    return document


def _calibrated(known: FoundImages, seed: int, device: torch.device | str) -> Novelty:
    """The threshold, from altered copies of the real images and their own distances."""
    targets = torch.zeros(len(known), dtype=torch.int64)
    images = LabelledImages(known.squares, targets, known.names, ("image",))
    usual = SynthesisSettings()
    return Novelty.calibrated(
        images, known.groups, caught_copies=usual.caught_copies, false_copies=usual.false_copies,
        seed=seed, device=device,
    )  # fmt: skip


def _measured(made: FoundImages, known: FoundImages, novelty: Novelty) -> tuple[Neighbours, ...]:
    """Nearest real images by structure, grey values and features.

    A synthetic image may be a stretched, a letterboxed or a cut-out copy: as it is, it is compared
    with the real images stretched and letterboxed; without its bars, with those without theirs.
    """
    bare, known_bare = without_bars(made.squares), without_bars(known.squares)
    queries = describe([made.squares, bare, made.squares])
    references = torch.cat([novelty.maps, describe([known.boxed])], 1)
    table = compare(queries, references, novelty.device, "comparing")
    return (
        by_structure(table, novelty.real),
        by_pixels(bare, known_bare, known.groups),
        by_features(bare, known_bare, known.groups),
    )


def _rows(
    made: FoundImages, known: FoundImages, found: Neighbours, threshold: float
) -> list[Nearest]:
    columns = (made.names, found.nearest.tolist(), found.distance.tolist(), found.ratio.tolist())
    return [
        Nearest(name, known.names[k], d, ratio, d < threshold)
        for name, k, d, ratio in zip(*columns, strict=True)
    ]


def _document(
    rows: Sequence[Nearest],
    novelty: Novelty,
    measures: Sequence[Neighbours],
    made: FoundImages,
    known: FoundImages,
) -> dict[str, Any]:
    copies = sum(row.copy for row in rows)
    return {
        "synthetic": len(rows),
        "real": len(known),
        "copies": copies,
        "share": copies / len(rows),
        "false_alarm_rate": novelty.false_copies,
        "real_images_like_another": 1 - novelty.threshold.real_pass,
        "copies_caught": novelty.caught,
        "threshold": asdict(novelty.threshold),
        "median_ratio": {m.measure: float(np.median(m.ratio)) for m in measures},
        "median_among_real": {m.measure: m.usual for m in measures},
        "same_nearest": {
            m.measure: float(np.mean(m.nearest == measures[0].nearest)) for m in measures[1:]
        },
        "closest": [asdict(row) for row in sorted(rows, key=lambda row: row.distance)[:SHOWN]],
        "unreadable": {"synthetic": made.unreadable, "real": known.unreadable},
        "verdict": _verdict(copies, len(rows), novelty),
    }


def _verdict(copies: int, n: int, novelty: Novelty) -> str:
    expected = novelty.false_copies
    fewest = min(novelty.caught.values())
    found = "all" if fewest == 1 else f"{fewest:.0%} or more"
    stated = (
        f"by the same rule {expected:.1%} of unrelated real images look copied (false alarms), and "
        f"{found} of the altered copies of each kind are found"
    )
    if copies == 0:
        return f"None of {n} images looks copied from a real one; {stated}."
    likely = copies > n * expected + 3 * (n * expected * (1 - expected)) ** 0.5
    finding = "more than chance explains" if likely else "no more than chance explains"
    verb = "image looks" if copies == 1 else "images look"
    return f"{copies} of {n} {verb} copied from a real one, {finding}: {stated}."


def _write_table(path: Path, rows: Sequence[Nearest]) -> None:
    cells = [
        (r.file, r.nearest, f"{r.distance:.6g}", f"{r.ratio:.6g}", "true" if r.copy else "false")
        for r in rows
    ]
    write_csv(path, ("file", "nearest", "distance", "ratio", "copy"), cells)


def _write_neighbours(
    path: Path, made: FoundImages, known: FoundImages, measures: Sequence[Neighbours]
) -> None:
    cells = [
        (name, m.measure, known.names[m.nearest[i]], f"{m.distance[i]:.6g}", f"{m.ratio[i]:.6g}")
        for i, name in enumerate(made.names)
        for m in measures
    ]
    write_csv(path, ("file", "measure", "nearest", "distance", "ratio"), cells)
