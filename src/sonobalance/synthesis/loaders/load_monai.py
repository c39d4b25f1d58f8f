"""The balanced set for MONAI: `python load_monai.py` prints one batch.

VAL and TEST must hold real images only; `origin` in index.csv tells them from synthetic ones.
"""

import csv
from pathlib import Path

from monai.data import DataLoader, Dataset
from monai.transforms import (
    Compose,
    EnsureChannelFirstd,
    Lambdad,
    LoadImaged,
    Resized,
    ScaleIntensityRanged,
)


def entries(root, part="train"):
    """One dictionary per image: image path, label index, whether it is synthetic."""
    with (Path(root) / "index.csv").open(newline="", encoding="utf-8") as handle:
        rows = [row for row in csv.DictReader(handle) if row["part"] == part]
    classes = sorted({row["label"] for row in rows})
    return [
        {
            "image": str(Path(root) / row["path"]),
            "label": classes.index(row["label"]),
            "synthetic": row["origin"] == "synthetic",
        }
        for row in rows
    ]


def transforms(side=224):
    """Grey images (1, side, side) float32 in [0, 1]; MONAI's PNG reader gives width first."""
    return Compose([
        LoadImaged("image", reader="PILReader", converter=lambda image: image.convert("L")),
        EnsureChannelFirstd("image", channel_dim="no_channel"),
        Lambdad("image", lambda x: x.transpose(1, 2)),
        ScaleIntensityRanged("image", 0, 255, 0, 1),
        Resized("image", (side, side)),
    ])  # fmt: skip


if __name__ == "__main__":
    images = Dataset(entries(Path(__file__).parent), transforms())
    batch = next(iter(DataLoader(images, batch_size=8, shuffle=True)))
    print(tuple(batch["image"].shape), batch["label"].tolist(), batch["synthetic"].tolist())
