"""Frozen pretrained features: what a discriminator may look at beside pixels, and what KID uses."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonobalance.classify.backbones import make_backbone
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.weights import load_backbone
from sonobalance.config import Settings
from sonobalance.errors import SettingsError
from sonobalance.folding import fold_norms, folded
from sonobalance.randomness import torch_generator

LEVELS = (4, 8, 16)  # strides of the maps that are looked at, where the backbone has them
LOOK_SIDE = 128  # smaller images are enlarged to this side: the backbone learnt on larger ones
FEATURE_BATCH = 32
Fold = Callable[[Any], Any]


def eyes_of(settings: Settings, side: int | None = None) -> FrozenFeatures | None:
    """Frozen features of the classifier's backbone; None without local weights.

    Args:
        settings: backbone and weights.
        side: of the images to look at, pixels; by default those of the GAN.

    Raises:
        InputError: the file is missing, damaged or of another backbone.
    """
    classifier, size = settings.classifier, side or settings.gan.image_size_px
    if classifier.weights is None:
        return None
    model = AttentiveClassifier(classifier.backbone, 1, image_size_px=size)
    load_backbone(model, classifier.weights)
    return FrozenFeatures(classifier.backbone, size, model.backbone)


class FrozenFeatures(nn.Module):
    """A timm backbone that is never trained.

    Args:
        name: timm's name of it.
        model: the backbone with its weights; made anew, with random ones, when None.
        size: side S of the images.
        fold: how batch norms are folded; by default where that changes nothing.

    Attributes:
        digest: SHA-256 of the weights as they were given.
        shapes: (channels, side) of each map, finest first, for images of `size`.

    Raises:
        SettingsError: the backbone cannot look at images of `size` enlarged to `LOOK_SIDE`.
    """

    model: Any  # a timm model, whose classes are not typed
    mean: Tensor
    std: Tensor

    def __init__(
        self, name: str, size: int, model: nn.Module | None = None, fold: Fold | None = None
    ) -> None:
        super().__init__()
        self.name = name
        self.model = make_backbone(name, 0, size) if model is None else model
        self.model.reset_classifier(0)
        self.digest = _digest(self.model)
        statistics = self.model.pretrained_cfg
        for key in ("mean", "std"):
            self.register_buffer(key, torch.tensor(statistics[key]).view(1, 3, 1, 1))
        strides = [info["reduction"] for info in self.model.feature_info]
        found = [max(i for i, s in enumerate(strides) if s == k) for k in LEVELS if k in strides]
        self._levels = found if len(found) > 1 else [len(strides) // 2, len(strides) - 1]
        self.eval()
        noise = torch.rand(1, 3, size, size, generator=torch_generator(0, "frozen features"))
        try:
            fold = fold or partial(fold_norms, outputs=lambda network: self._maps(network, noise))
            self.model = fold(self.model)
            self.requires_grad_(False).to(memory_format=torch.channels_last)
            with torch.no_grad():
                maps = self(torch.zeros(1, 1, size, size))
        except (AssertionError, RuntimeError) as error:
            raise SettingsError(
                f"Expected `classifier.backbone` to look at generated images of {size} px, and of "
                f"{max(size, LOOK_SIDE)}, but {name} cannot ({error}); choose another, such as "
                "mobilenetv2_100."
            ) from error
        self.shapes = [(m.shape[1], m.shape[2]) for m in maps]

    @classmethod
    def restored(cls, name: str, size: int, state: dict[str, Tensor]) -> FrozenFeatures:
        """The features of this state dict, which tells by its names what was folded."""
        eyes = cls(name, size, fold=folded)
        if eyes.state_dict().keys() != state.keys():
            eyes = cls(name, size, fold=copy.deepcopy)
        eyes.load_state_dict(state)
        return eyes

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps (N, C, h, w), finest first, of images (N, ≥ 1, S, S) in [-1, 1] enlarged."""
        return self.native(_enlarged(images))

    def native(self, images: Tensor) -> list[Tensor]:
        """The same of images as large as they are: cheaper, for what only needs sharp edges."""
        return self._maps(self.model, self._rgb(images))

    def _maps(self, model: Any, rgb: Tensor) -> list[Tensor]:
        found: list[Tensor] = model.forward_intermediates(
            rgb, indices=self._levels, intermediates_only=True, stop_early=True
        )
        return found

    @torch.no_grad()
    def pooled(self, images: Tensor) -> Tensor:
        """(N, F) float32 pooled features of the last layer; small images are enlarged."""
        rows = []
        for part in images.split(FEATURE_BATCH):
            maps = self.model.forward_features(self._rgb(_enlarged(part)))
            rows.append(self.model.forward_head(maps, pre_logits=True).float())
        return torch.cat(rows).flatten(1)

    def _rgb(self, images: Tensor) -> Tensor:
        rgb = ((images[:, :1] + 1) / 2 - self.mean) / self.std
        return rgb.contiguous(memory_format=torch.channels_last)


def _digest(model: nn.Module) -> str:
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        found.update(name.encode())
        found.update(value.cpu().numpy().tobytes())
    return found.hexdigest()


def _enlarged(images: Tensor) -> Tensor:
    """Images (N, C, S, S) smaller than `LOOK_SIDE` enlarged to it; others as they are."""
    if images.shape[-1] >= LOOK_SIDE:
        return images
    return F.interpolate(images, size=(LOOK_SIDE,) * 2, mode="bilinear", align_corners=False)
