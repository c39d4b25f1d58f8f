"""Does a folder of synthetic images, ours or not, hold copies of a folder of real ones?"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sonobalance.config import SynthesisSettings
from sonobalance.data.images import letterbox, read_gray
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import InputError
from sonobalance.files import write_json, write_text
from sonobalance.progress import track
from sonobalance.synthesis.likeness import likeness, nearest
from sonobalance.synthesis.novelty import Novelty

SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"})
SIDE_PX = 64
TABLE, DOCUMENT = "memorisation.csv", "memorisation.json"


@dataclass(frozen=True, slots=True)
class Nearest:
    """One synthetic image: a row of `memorisation.csv`.

    Attributes:
        file: its path below the synthetic folder.
        nearest: path of the nearest real image below the real folder.
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
    groups: Sequence[str] | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Compare every synthetic image with every real one; write `memorisation.csv` and `.json`.

    Args:
        synthetic: folder of images, searched below; lesion masks (`*_mask*`) are left out.
        real: folder of the images that the generator was trained with.
        out: where the files are written.
        groups: keys of relatives of the real images in the order of their paths; without them
            relatives count as strangers, and the stated false-alarm rate is too high.
        seed: of the altered copies that the threshold is checked with.
        device: where likeness is computed.

    Returns:
        The content of `memorisation.json`.

    Raises:
        InputError: a folder holds no image, or an image cannot be read.
    """
    made, known = load_folder(synthetic), load_folder(real)
    if len(known) < 2:
        raise InputError(f"Expected at least two real images in {real}, but got {len(known)}.")
    novelty = Novelty.calibrated(known, groups or known.ids, SynthesisSettings(), seed, device)
    distance, column = nearest(likeness(made.pixels, known.pixels, device, "comparing"))
    usual = float(np.median(novelty.real))
    rows = [
        Nearest(name, known.ids[k], d, d / max(usual, 1e-6), d < novelty.threshold.value)
        for name, d, k in zip(made.ids, distance.double().tolist(), column.tolist(), strict=True)
    ]
    document = _document(rows, novelty)
    _write_table(out / TABLE, rows)
    write_json(out / DOCUMENT, document)
    return document


def load_folder(folder: Path) -> LabelledImages:
    """Every image below a folder as one unlabelled set, letterboxed to `SIDE_PX`.

    Raises:
        InputError: there is none, or one cannot be read.
    """
    files = sorted(
        p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and "_mask" not in p.name
    )
    if not files:
        raise InputError(f"Expected images below {folder}, but there are none.")
    pixels = np.stack([
        letterbox(read_gray(path), SIDE_PX) for path in track(files, "reading images", len(files))
    ])  # fmt: skip
    names = tuple(path.relative_to(folder).as_posix() for path in files)
    targets = torch.zeros(len(files), dtype=torch.int64)
    return LabelledImages(torch.from_numpy(pixels)[:, None], targets, names, ("image",))


def _document(rows: Sequence[Nearest], novelty: Novelty) -> dict[str, Any]:
    copies = sum(row.copy for row in rows)
    false_alarm = 1 - novelty.threshold.real_pass
    return {
        "synthetic": len(rows),
        "real": len(novelty.train),
        "copies": copies,
        "share": copies / len(rows),
        "false_alarm_rate": false_alarm,
        "copies_caught": novelty.caught,
        "threshold": asdict(novelty.threshold),
        "median_ratio": float(np.median([row.ratio for row in rows])),
        "closest": [asdict(row) for row in sorted(rows, key=lambda row: row.distance)[:10]],
        "verdict": _verdict(copies, len(rows), false_alarm),
    }


def _verdict(copies: int, n: int, false_alarm: float) -> str:
    expected = f"by the same rule {false_alarm:.1%} of the real images look copied from one another"
    if copies == 0:
        return f"None of {n} images looks copied from a real one; {expected}."
    likely = copies > n * false_alarm + 3 * (n * false_alarm * (1 - false_alarm)) ** 0.5
    finding = "more than chance explains" if likely else "no more than chance explains"
    return f"{copies} of {n} images look copied from a real one, {finding}: {expected}."


def _write_table(path: Path, rows: Sequence[Nearest]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("file", "nearest", "distance", "ratio", "copy"))
    for row in rows:
        copied = "true" if row.copy else "false"
        writer.writerow((row.file, row.nearest, f"{row.distance:.6g}", f"{row.ratio:.6g}", copied))
    write_text(path, text.getvalue())
