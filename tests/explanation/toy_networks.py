"""Networks small enough to be worked out by hand."""

import torch
from torch import nn

from sonobalance.explanation.layers import Layer


class Toy(nn.Module):
    """features_c = weight_c · x (one value per pixel); logits = head · mean(features)."""

    def __init__(self, weights, head):
        super().__init__()
        self.features = nn.Conv2d(1, len(weights), 1, bias=False)
        self.features.weight.data = torch.tensor(weights, dtype=torch.float32).view(-1, 1, 1, 1)
        self.head = nn.Linear(len(weights), len(head), bias=False)
        self.head.weight.data = torch.tensor(head, dtype=torch.float32)

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))

    @property
    def layer(self):
        return Layer("features", self.features)


def convolutional(classes=3, seed=0):
    """A small random network with stride, batch norm, ReLU and in-place work after the layer."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU(inplace=True),
        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, classes),
    ).eval()  # fmt: skip


def blob_images(n, side, seed=0):
    """Dim noise in [-1, -0.8] with one bright square, its mask, and where it is."""
    rng = torch.Generator().manual_seed(seed)
    images = torch.rand((n, 1, side, side), generator=rng) * 0.2 - 1
    masks = torch.zeros((n, side, side), dtype=torch.bool)
    size = side // 4
    corners = torch.randint(0, side - size, (n, 2), generator=rng)
    for i, (y, x) in enumerate(corners.tolist()):
        masks[i, y : y + size, x : x + size] = True
        images[i, 0][masks[i]] = 0.9
    return images, masks
