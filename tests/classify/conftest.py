"""Small images whose class an eye can tell: a disc, a square, nothing; all under speckle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages, Outlines

CLASSES = ("disc", "nothing", "square")
MakeImages = Callable[..., LabelledImages]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def phantoms(n: int = 8, side: int = 32, seed: int = 0, prefix: str = "x") -> LabelledImages:
    """n images, classes in turn."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side] / side
    pixels = np.zeros((n, 1, side, side), np.uint8)
    for i in range(n):
        image = 0.5 + 0.15 * rng.standard_normal((side, side))
        y, x = rng.uniform(0.4, 0.6, 2)
        if i % 3 == 0:
            image[(rows - y) ** 2 + (columns - x) ** 2 < 0.05] *= 0.1
        if i % 3 == 2:
            image[(abs(rows - y) < 0.25) & (abs(columns - x) < 0.12)] += 0.6
        pixels[i, 0] = (image.clip(0, 1) * 255).astype(np.uint8)
    targets = torch.tensor([i % 3 for i in range(n)])
    ids = tuple(f"{prefix}{i}" for i in range(n))
    return LabelledImages(torch.from_numpy(pixels), targets, ids, CLASSES)


def outlined(images: LabelledImages) -> LabelledImages:
    """Dark places are lesions, which of every third image nobody knows."""
    known = torch.arange(len(images)) % 3 > 0
    return replace(images, outlines=Outlines((images.pixels < 25).to(torch.uint8) * 255, known))


@pytest.fixture
def make_images() -> MakeImages:
    """(n, side, seed, prefix) → n images, classes in turn."""
    return phantoms


@pytest.fixture
def outline() -> Callable[[LabelledImages], LabelledImages]:
    """Images → the same with lesions."""
    return outlined


@pytest.fixture
def small_settings() -> ClassifierSettings:
    """A network of 0.4 M parameters without pretrained weights."""
    return ClassifierSettings(
        backbone="test_resnet", image_size_px=32, batch_size=4, epochs=3, head_epochs=0,
        backbone_lr=3e-3, head_lr=3e-3, ema_halflife_epochs=0.5, patience_epochs=50,
    )  # fmt: skip


@pytest.fixture
def pretrained(tmp_path: Path) -> Path:
    """Weights of the small network, as if trained elsewhere."""
    torch.manual_seed(3)
    path = tmp_path / "w.safetensors"
    state = timm.create_model("test_resnet", num_classes=0).state_dict()
    save_file({k: v.contiguous() for k, v in state.items()}, path)
    return path
