"""Frozen features on disk, by the content of the image and of the network: computed once for all.

A benchmark shows the same image to the same frozen network in every fold, seed and arm. A row is
found only by the hash of the pixels that are at hand, so a fold never gets features of images it
was not given (promise P1).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from sonobalance.classify.features import Features, model_features
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.data.loading import LabelledImages
from sonobalance.state import atomic_tensors


class FeatureStore:
    """Features of images by one or several frozen networks.

    Args:
        folder: one file per network; None keeps nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._rows: dict[str, dict[str, Features]] = {}

    def features(self, model: AttentiveClassifier, images: LabelledImages) -> Features:
        """(N, F) float32 pooled features of images that have the network's size already."""
        network = digest_of_features(model)
        if network not in self._rows:
            self._rows[network] = self._read(network)
        rows = self._rows[network]
        keys = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in images.pixels]
        missing = [i for i, key in enumerate(keys) if key not in rows]
        if missing:
            side = images.pixels.shape[-1]
            new = model_features(model, images.take(missing), image_size_px=side)
            rows |= {keys[i]: row for i, row in zip(missing, new, strict=True)}
            self._write(network, rows)
        return np.stack([rows[key] for key in keys])

    def _read(self, network: str) -> dict[str, Features]:
        """Rows written before; a damaged file is as good as none, since it can be made again."""
        path = self._path(network)
        if path is None or not path.is_file():
            return {}
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError):
            return {}

    def _write(self, network: str, rows: dict[str, Features]) -> None:
        path = self._path(network)
        if path is not None:
            with atomic_tensors(path) as temporary:
                save_file(self._read(network) | rows, temporary)

    def _path(self, network: str) -> Path | None:
        return self.folder / f"{network[:16]}.safetensors" if self.folder else None


def digest_of_features(model: AttentiveClassifier) -> str:
    """A digest of all that features depend on: the network's name, its weights but the head's."""
    heads = (model.head, model.lesion.classify if model.lesion is not None else None)
    head = {id(value) for layer in heads if layer is not None for value in layer.parameters()}
    whole = hashlib.sha256(f"{model.name}\n".encode())  # the same weights can be padded otherwise
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    for name in sorted(tensors):
        if id(tensors[name]) not in head:
            whole.update(name.encode())
            whole.update(
                tensors[name]
                .detach()
                .cpu()
                .contiguous()
                .view(-1)
                .view(torch.uint8)
                .numpy()
                .tobytes()
            )
    return whole.hexdigest()
