"""Features of the TRAIN images: which of them an image is most like.

The first bundles also refused images by it: the Euclidean distance of L2-normalised features to the
k-th nearest of TRAIN (Sun, Ming, Zhu & Li, "Out-of-Distribution Detection with Deep Nearest
Neighbors", ICML 2022), with a limit that 1 % of VAL exceeded. `strangers.py` has taken its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sonobalance.deployment.tensors import read_tensors, write_tensors
from sonobalance.errors import InputError

FILE = "reference.safetensors"
NEIGHBOURS = 5  # the k of the distance
Matrix = NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """What an image is compared with.

    Attributes:
        features: (N, F) float32, L2-normalised, of the real TRAIN images.
        targets: (N,) int64 class of each.
        limit: the largest distance that is answered; infinite where that is decided elsewhere.
        neighbours: which nearest neighbour the distance is to.
    """

    features: Matrix
    targets: NDArray[np.int64]
    limit: float
    neighbours: int

    def distances(self, features: Matrix) -> Matrix:
        """(M, F) features → (M,) distance to the k-th nearest TRAIN image, in [0, 2]."""
        place = min(self.neighbours, len(self.features)) - 1
        out: Matrix = np.partition(self._to_train(features), place, axis=1)[:, place]
        return out

    def nearest(self, feature: Matrix, count: int) -> list[tuple[int, float]]:
        """Index and distance of the `count` nearest TRAIN images of one (F,) feature."""
        row = self._to_train(feature[None])[0]
        return [(int(i), float(row[i])) for i in np.argsort(row, kind="stable")[:count]]

    def _to_train(self, features: Matrix) -> Matrix:
        cosine = normalised(features) @ self.features.T
        out: Matrix = np.sqrt(np.maximum(2 - 2 * cosine, 0))
        return out


def normalised(features: Matrix) -> Matrix:
    """Rows of length 1; a row of zeros stays."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    out: Matrix = features / np.maximum(length, 1e-12)
    return out


def reference_of(train: Matrix, targets: NDArray[np.int64]) -> Reference:
    """The reference of (N, F) TRAIN features and their (N,) classes; it refuses nothing."""
    return Reference(normalised(train), targets, float("inf"), NEIGHBOURS)


def write_reference(reference: Reference) -> bytes:
    """The bytes of `reference.safetensors`; features as float16."""
    return write_tensors({
        "features": torch.from_numpy(reference.features).half(),
        "targets": torch.from_numpy(reference.targets),
        "limit": torch.tensor([reference.limit], dtype=torch.float64),
        "neighbours": torch.tensor([reference.neighbours]),
    })  # fmt: skip


def read_reference(files: Mapping[str, bytes], classes: int) -> Reference | None:
    """The reference of a bundle; None where it has none.

    Raises:
        InputError: the file is damaged or does not fit the classes.
    """
    if FILE not in files:
        return None
    tensors = read_tensors(files[FILE], FILE)
    try:
        features, targets = tensors["features"].float(), tensors["targets"].long()
        limit, neighbours = float(tensors["limit"][0]), int(tensors["neighbours"][0])
    except (KeyError, IndexError):
        raise InputError(f"Expected features, targets and a limit in {FILE}.") from None
    sound = features.ndim == 2 and len(features) == len(targets) > 0 and neighbours > 0
    if not sound or int(targets.min()) < 0 or int(targets.max()) >= classes:
        raise InputError(f"Expected a row of features and a class for each image in {FILE}.")
    return Reference(features.numpy(), targets.numpy(), limit, neighbours)
