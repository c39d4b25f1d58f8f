"""Draw docs/images/phantoms.png: simulated benign, malignant and normal breast ultrasound."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from sonobalance.data.images import letterbox, read_gray, write_png
from sonobalance.data.phantoms import make_phantoms

TARGET = Path(__file__).parent.parent / "docs" / "images" / "phantoms.png"
SIDE, SHOWN, GAP = 120, 7, 3


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = make_phantoms(Path(folder) / "set", images=60, seed=3)
        rows = [row(root / name) for name in ("benign", "malignant", "normal")]
    write_png(TARGET, np.vstack(rows))
    print(TARGET)


def row(folder: Path) -> np.ndarray:
    files = sorted(p for p in folder.glob("*.png") if "_mask" not in p.name)[:SHOWN]
    tiles = [np.pad(letterbox(read_gray(p), SIDE), GAP, constant_values=255) for p in files]
    return np.hstack(tiles)


if __name__ == "__main__":
    main()
