import pytest
import torch

from sonobalance.config import GanSettings
from sonobalance.data.loading import LabelledImages


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def blobs(per_class: int = 4, size: int = 32, seed: int = 0) -> LabelledImages:
    """Two classes of letterboxed images: a dark or a bright blob on noisy tissue."""
    generator = torch.Generator().manual_seed(seed)
    line = torch.arange(size) / size
    pixels, targets = [], []
    for target in (0, 1):
        for _ in range(per_class):
            y, x = torch.rand(2, generator=generator) * 0.4 + 0.3
            near = torch.exp(-((line[:, None] - y) ** 2 + (line - x) ** 2) / 0.02)
            tissue = 120 + 20 * torch.randn(size, size, generator=generator)
            image = tissue + (90 if target else -90) * near
            image = image.clamp(1, 255)
            image[:4], image[-4:] = 0, 0
            pixels.append(image.to(torch.uint8)[None])
            targets.append(target)
    ids = tuple(f"image-{i}" for i in range(2 * per_class))
    return LabelledImages(torch.stack(pixels), torch.tensor(targets), ids, ("bright", "dark"))


@pytest.fixture
def images() -> LabelledImages:
    return blobs()


def tiny(**changes) -> GanSettings:
    """Settings whose ticks are two steps of four images."""
    values = {
        "image_size_px": 32, "base_channels": 4, "latent_dim": 8, "batch_size": 4,
        "autoencoder_kimg": 0.016, "total_kimg": 0.016, "snapshot_kimg": 0.008,
        "fade_kimg": 0.01, "r1_interval": 2, "collapse_fraction": 0.0, "repetition_limit": 1.0,
    }  # fmt: skip
    return GanSettings(**(values | changes))


@pytest.fixture
def settings() -> GanSettings:
    return tiny()


@pytest.fixture
def cpu() -> torch.device:
    return torch.device("cpu")
