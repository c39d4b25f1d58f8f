"""The balanced set for MONAI: `python load_monai.py` prints one batch.

VAL and TEST must hold real images only; `origin` in index.csv tells them from synthetic ones.
"""

import csv
from pathlib import Path

import numpy as np
from monai.data import DataLoader, Dataset
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Lambdad,
    LoadImaged,
    Resized,
    ScaleIntensityRanged,
)
from PIL import Image


def entries(root, part="train", masks=False):
    """One dictionary per image: image path, label index, whether it is synthetic.

    With `masks`, only images that have a lesion mask, and the paths of its files.
    """
    with (Path(root) / "index.csv").open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["part"] == part]
    classes = sorted({row["label"] for row in rows})
    return [
        {
            "image": str(Path(root) / row["path"]),
            "label": classes.index(row["label"]),
            "synthetic": row["origin"] == "synthetic",
        }
        | ({"mask": [str(Path(root) / name) for name in row["masks"].split("|")]} if masks else {})
        for row in rows
        if row["masks"] or not masks
    ]


def lesion(files):
    """(1, H, W) float32 of 0 and 1: the union of masks; of shaded ones what is above half."""
    masks = [np.asarray(Image.open(name).convert("RGB")).max(2) for name in files]
    levels = [0 if len(np.unique(mask)) <= 8 else mask.max() / 2 for mask in masks]
    union = np.any([mask > level for mask, level in zip(masks, levels, strict=True)], axis=0)
    return union[None].astype(np.float32)


def transforms(side=224, masks=False):
    """Grey images (1, side, side) float32 in [0, 1]; MONAI's PNG reader gives width first.

    With `masks`, the same of `mask`, of 0 and 1.
    """
    outlines = [Lambdad("mask", lesion), Resized("mask", (side, side), mode="nearest-exact")]
    return Compose([
        LoadImaged("image", reader="PILReader", converter=lambda image: image.convert("L")),
        EnsureChannelFirstd("image", channel_dim="no_channel"),
        Lambdad("image", lambda x: x.transpose(1, 2)),
        ScaleIntensityRanged("image", 0, 255, 0, 1),
        Resized("image", (side, side)),
        *(outlines if masks else []),
    ])  # fmt: skip


if __name__ == "__main__":
    images = Dataset(entries(Path(__file__).parent), transforms())
    batch = next(iter(DataLoader(images, batch_size=8, shuffle=True)))
    print(tuple(batch["image"].shape), batch["label"].tolist(), batch["synthetic"].tolist())
