"""Reading sets whose images have masks."""

import csv

import numpy as np
from PIL import Image


def masks_of(folder):
    return sorted(p.relative_to(folder) for p in folder.rglob("*.png"))


def rows_of(folder, origin="synthetic"):
    with (folder / "index.csv").open(newline="", encoding="utf-8") as handle:
        return [row for row in csv.DictReader(handle) if row["origin"] == origin]


def inside(path):
    with Image.open(path) as image:
        assert image.mode == "L"
        values = np.asarray(image)
    assert set(np.unique(values).tolist()) <= {0, 255}
    return values > 0
