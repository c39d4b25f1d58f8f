"""The balanced set for torchvision: `python load_torchvision.py` prints one batch.

VAL and TEST must hold real images only; `origin` in index.csv tells them from synthetic ones.
"""

import csv
from collections import Counter
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.datasets import VisionDataset
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2


class BalancedSet(VisionDataset):
    """Pairs of a transformed image and the index of its class.

    With `masks`, only images that have a lesion mask, and the mask as third: a `tv_tensors.Mask` of
    0 and 1, which a transform of torchvision.transforms.v2 moves with the image.
    """

    def __init__(self, root, transform=None, part="train", real_only=False, masks=False):
        super().__init__(root, transform=transform)
        with (Path(root) / "index.csv").open(newline="", encoding="utf-8") as handle:
            rows = [row for row in csv.DictReader(handle) if row["part"] == part]
        self.classes = sorted({row["label"] for row in rows})
        self.masks = masks
        self.rows = [
            row
            for row in rows
            if (row["origin"] == "real" or not real_only) and (row["masks"] or not masks)
        ]

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        image = default_loader(Path(self.root) / row["path"]).convert("L")
        target = self.classes.index(row["label"])
        if not self.masks:
            return (self.transform(image) if self.transform else image), target
        mask = self.lesion(row, image.size)
        image, mask = self.transform(image, mask) if self.transform else (image, mask)
        return image, target, mask

    def lesion(self, row, size):
        """(1, H, W) uint8: the union of an image's masks; of shaded ones what is above half."""
        union = torch.zeros(1, size[1], size[0], dtype=torch.uint8)
        for name in row["masks"].split("|"):
            mask = default_loader(Path(self.root) / name).resize(size, resample=0)
            values = v2.functional.pil_to_tensor(mask).amax(0, keepdim=True)
            level = 0 if len(values.unique()) <= 8 else values.max() / 2
            union |= (values > level).to(torch.uint8)
        return tv_tensors.Mask(union)


if __name__ == "__main__":
    side = v2.Compose([v2.ToImage(), v2.Resize((224, 224)), v2.ToDtype(torch.float32, scale=True)])
    images = BalancedSet(Path(__file__).parent, transform=side)
    batch, targets = next(iter(DataLoader(images, batch_size=8, shuffle=True)))
    print(tuple(batch.shape), targets.tolist())
    print(Counter((row["label"], row["origin"]) for row in images.rows))
