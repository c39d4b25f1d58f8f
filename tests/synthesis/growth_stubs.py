"""Separable toy images, their features, and generators with known vices."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

from sonobalance.config import GanSettings, SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.files import read_json, sha256_of, write_json
from sonobalance.gan.sampling import Parents, Samples
from sonobalance.randomness import numpy_generator
from sonobalance.synthesis.enlarger import ENLARGER, Enlarger, save_enlarger
from sonobalance.synthesis.generator import GanGenerator

CLASSES = ("benign", "malignant", "normal")
SIDE = 32
TINY = GanSettings(
    image_size_px=32, base_channels=4, latent_dim=8, batch_size=4, autoencoder_kimg=0.12,
    total_kimg=0.008, snapshot_kimg=0.008, fade_kimg=0.01, r1_interval=2, collapse_fraction=0.0,
)  # fmt: skip
SETTINGS = SynthesisSettings(
    rounds=2, min_pool=4, pool_factor=1.0, min_acceptance=0.0, collapse_share=1.0,
    coverage_fall=1.0, inner_repeats=1, inner_folds=2, patience_rounds=9, truncation=0.5,
    gan_kimg_per_round=0.008,
)  # fmt: skip
# Gates that a generator after sixteen steps can pass
WIDE = SETTINGS.model_copy(
    update={
        "realism_pass": 0.999, "class_pass": 0.999, "class_reject": 0.001, "hard_share": 0.9,
        "typicality_pass": 0.999, "typicality_slack": 3.0,
    }
)  # fmt: skip
# Of a GAN that draws masks, more than one image that is no twin of another
DIVERSE = WIDE.model_copy(update={"rounds": 1, "min_pool": 12, "truncation": 2.0})


def toy_image(target: int, rng: np.random.Generator, side: int = SIDE) -> np.ndarray:
    """Smooth texture, brighter on the left, at the top, or nowhere, according to the class."""
    texture = cv2.GaussianBlur(rng.normal(size=(side, side)), (0, 0), 1.2)
    image = 110 + 35 * texture / texture.std()
    if target == 0:
        image[:, : side // 2] += 45
    if target == 1:
        image[: side // 2] += 45
    return np.clip(image, 0, 255).astype(np.uint8)


def toy_set(counts: tuple[int, ...], seed: int = 0) -> tuple[LabelledImages, list[str]]:
    """Images and their groups (two images per group)."""
    targets = np.repeat(np.arange(len(counts)), counts)
    pixels = np.stack([
        toy_image(int(k), numpy_generator(seed, "toy", i)) for i, k in enumerate(targets)
    ])  # fmt: skip
    ids = tuple(f"{CLASSES[k]}/{i}" for i, k in enumerate(targets))
    images = LabelledImages(
        torch.from_numpy(pixels)[:, None], torch.as_tensor(targets), ids, CLASSES[: len(counts)]
    )
    return images, [f"{CLASSES[k]} patient {i // 2}" for i, k in enumerate(targets)]


def toy_features(images: LabelledImages) -> np.ndarray:
    """(N, 19): 4 x 4 thumbnail, mean, spread, roughness."""
    rows = []
    for image in images.pixels[:, 0].numpy().astype(np.float32):
        thumbnail = cv2.resize(image, (4, 4), interpolation=cv2.INTER_AREA).ravel()
        rough = np.abs(np.diff(image)).mean()
        rows.append([*thumbnail, image.mean(), image.std(), rough])
    return np.asarray(rows, np.float32)


@dataclass
class StubGenerator:
    """Fresh images of the right class; subclasses misbehave."""

    fingerprint: str = "stub"
    learnt: tuple[str, ...] = ()
    advanced: list[int] = field(default_factory=list)
    fed: list[int | None] = field(default_factory=list)

    def advance(self, number: int, accepted: LabelledImages | None = None) -> None:
        self.advanced.append(number)
        self.fed.append(None if accepted is None else len(accepted))

    def image(self, target: int, seed: int, index: int) -> np.ndarray:
        return toy_image(target, numpy_generator(seed, "fresh", index))

    def parents(self, target: int, seed: int, index: int) -> Parents:
        return Parents((), ())

    def sample(self, targets: torch.Tensor, *, seed: int, truncation: float = 1.0) -> Samples:
        named = list(enumerate(targets.tolist()))
        pixels = np.stack([self.image(k, seed, i) for i, k in named])
        parents = tuple(self.parents(k, seed, i) for i, k in named)
        return Samples(torch.from_numpy(pixels)[:, None], parents)

    def log_ratios(
        self, pixels: torch.Tensor, targets: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        images = pixels.float()
        return -images.diff(dim=3).abs().mean((1, 2, 3)), -images.diff(dim=2).abs().mean((1, 2, 3))


class Repeating(StubGenerator):
    """The same few images of each class for ever."""

    def __init__(self, different: int) -> None:
        super().__init__()
        self.different = different

    def image(self, target: int, seed: int, index: int) -> np.ndarray:
        return toy_image(target, numpy_generator(0, "repeated", target, index % self.different))


class Swapped(StubGenerator):
    """Good images of another class than the one asked for."""

    def image(self, target: int, seed: int, index: int) -> np.ndarray:
        return super().image((target + 1) % len(CLASSES), seed, index)


class Noise(StubGenerator):
    """White noise."""

    def image(self, target: int, seed: int, index: int) -> np.ndarray:
        rng = numpy_generator(seed, "noise", index)
        return rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)


class Copying(StubGenerator):
    """TRAIN images of the class, mirrored every second time, with their names as parents."""

    def __init__(self, train: LabelledImages) -> None:
        super().__init__()
        self.train = train

    def _place(self, target: int, index: int) -> int:
        rows = torch.nonzero(self.train.targets == target).flatten().tolist()
        return rows[index % len(rows)]

    def image(self, target: int, seed: int, index: int) -> np.ndarray:
        image = self.train.pixels[self._place(target, index), 0].numpy()
        return image[:, ::-1].copy() if index % 2 else image

    def parents(self, target: int, seed: int, index: int) -> Parents:
        return Parents((self.train.ids[self._place(target, index)],), (1.0,))


class Lenient(GanGenerator):
    """Its discriminators know no difference, so that after a few steps images are accepted."""

    def log_ratios(self, pixels, targets):
        return torch.zeros(len(pixels)), torch.zeros(len(pixels))


def with_enlarger(bundle: Path, folder: Path, large: int) -> Path:
    """A copy of a bundle of 32 px, with a random enlarger beside it."""
    shutil.copytree(bundle, folder)
    torch.manual_seed(0)
    enlarger = Enlarger(32, large, "toy")
    torch.nn.init.normal_(enlarger.exit.weight, std=0.1)
    save_enlarger(folder / ENLARGER, enlarger)
    document = read_json(folder / "bundle.json")
    document["files"][ENLARGER] = sha256_of(folder / ENLARGER)
    write_json(folder / "bundle.json", document)
    return folder
