"""The balanced set for torchvision: `python load_torchvision.py` prints one batch.

VAL and TEST must hold real images only; `origin` in index.csv tells them from synthetic ones.
"""

import csv
from collections import Counter
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision.datasets import VisionDataset
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2


class BalancedSet(VisionDataset):
    """Pairs of a transformed image and the index of its class."""

    def __init__(self, root, transform=None, part="train", real_only=False):
        super().__init__(root, transform=transform)
        with (Path(root) / "index.csv").open(newline="", encoding="utf-8") as handle:
            rows = [row for row in csv.DictReader(handle) if row["part"] == part]
        self.classes = sorted({row["label"] for row in rows})
        self.rows = [row for row in rows if not real_only or row["origin"] == "real"]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        image = default_loader(Path(self.root) / row["path"]).convert("L")
        image = self.transform(image) if self.transform else image
        return image, self.classes.index(row["label"])


if __name__ == "__main__":
    side = v2.Compose([v2.ToImage(), v2.Resize((224, 224)), v2.ToDtype(torch.float32, scale=True)])
    images = BalancedSet(Path(__file__).parent, transform=side)
    batch, targets = next(iter(DataLoader(images, batch_size=8, shuffle=True)))
    print(tuple(batch.shape), targets.tolist())
    print(Counter((row["label"], row["origin"]) for row in images.rows))
