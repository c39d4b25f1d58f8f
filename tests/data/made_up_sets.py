"""Manifests that exist in memory only, shared by the tests of splits."""

import csv
from pathlib import Path

import numpy as np

from sonobalance.data.manifest import Manifest, Record

SHARES = {"train": 0.64, "val": 0.16, "test": 0.2}
BUSI = {"benign": 437, "malignant": 210, "normal": 133}
BUSBRA = Path(__file__).parents[3] / "shared" / "data" / "BUSBRA"


def manifest_of(*rows: tuple[str, str], **columns: list[str]) -> Manifest:
    """Records from (id, label) rows and further columns."""
    records = []
    for i, (key, label) in enumerate(rows):
        more = {name: values[i] for name, values in columns.items()}
        records.append(Record(key, f"{label}/{key}.png", label, **more))  # type: ignore[arg-type]
    return Manifest(tuple(records), Path("images"))


def busi_like(seed: int, scale: float = 1.0) -> tuple[Manifest, dict[str, str]]:
    """Class counts of BUSI; a quarter of the draws is a group of 2 to 4 images of one class."""
    rng = np.random.default_rng(seed)
    rows, group = [], {}
    for label, total in BUSI.items():
        sizes: list[int] = []
        while sum(sizes) < int(total * scale):
            size = 1 if rng.random() < 0.75 else int(rng.integers(2, 5))
            sizes.append(min(size, int(total * scale) - sum(sizes)))
        keys = [f"{label}{g}" for g, size in enumerate(sizes) for _ in range(size)]
        rows += [(f"{label}-{i}", label) for i in range(len(keys))]
        group |= {f"{label}-{i}": key for i, key in enumerate(keys)}
    return manifest_of(*rows), group


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as handle:
        return list(csv.DictReader(handle))


def alone(manifest: Manifest) -> dict[str, str]:
    return {r.id: r.id for r in manifest}


def conflicted() -> tuple[Manifest, dict[str, str]]:
    """Ten images per class; a0 and b0 are near-duplicates, a0 and a1 of one patient."""
    rows = [(f"{label}{i}", label) for label in "ab" for i in range(10)]
    patients = ["P" if key in ("a0", "a1") else "" for key, _ in rows]
    manifest = manifest_of(*rows, patient=patients)
    return manifest, alone(manifest) | {"b0": "a0"}
