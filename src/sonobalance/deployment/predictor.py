"""From a bundle to answers: the one path of command, Python, service and ONNX check."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.stranger import LIMIT, Stranger
from sonobalance.data.cleaning import cleaned
from sonobalance.data.images import Gray, letterbox, read_gray
from sonobalance.data.loading import to_unit
from sonobalance.deployment.answers import Answer, answer
from sonobalance.deployment.archive import DESCRIPTION, SUMS, WEIGHTS, check_sums, read_files
from sonobalance.deployment.description import Description, read_description
from sonobalance.deployment.examples import read_examples
from sonobalance.deployment.folded import folded
from sonobalance.deployment.reference import Reference, read_reference
from sonobalance.deployment.strangers import read_stranger
from sonobalance.deployment.tensors import read_tensors
from sonobalance.errors import InputError, SettingsError
from sonobalance.temperature import tempered

Squares = NDArray[np.uint8]  # (N, S, S) letterboxed grey images in [0, 255]


@dataclass(frozen=True)
class Outputs:
    """What the network gives for N images.

    Attributes:
        probabilities: (N, K) float64, calibrated.
        logits: (N, K) float32, before the temperature; of image and mirror image, averaged.
        features: (N, F) float32 pooled features of the image as it is.
        strangeness: (N,) how unlike the TRAIN images they are; None where the bundle cannot tell.
    """

    probabilities: NDArray[np.float64]
    logits: NDArray[np.float32]
    features: NDArray[np.float32]
    strangeness: NDArray[np.floating[Any]] | None = None


@dataclass(frozen=True)
class BundlePredictor:
    """A bundle, ready to answer.

    Attributes:
        description: `model.json`.
        model: the network in evaluation mode, as trained; maps are made with it.
        reference: TRAIN features, for nearest examples; None where there is none.
        stranger: what is familiar, for refusals; None in bundles made before it was known, which
            refuse by the distance to TRAIN features.
        examples: (N, 1, 96, 96) uint8 TRAIN images in the order of the reference, where allowed.
        digest: hex SHA-256 of `SHA256SUMS`: names this very bundle.
    """

    description: Description
    model: AttentiveClassifier
    reference: Reference | None
    stranger: Stranger | None
    examples: torch.Tensor | None
    digest: str

    @classmethod
    def load(cls, path: Path, device: torch.device | str = "cpu") -> BundlePredictor:
        """Read a bundle, folder or ZIP, after checking its version and every byte of it.

        Raises:
            InputError: see `archive.read_files`, `archive.check_sums`, `read_description`; or the
                weights do not fit the network.
        """
        return cls.of_files(read_files(path), path, device)

    @classmethod
    def of_files(
        cls, files: Mapping[str, bytes], path: Path, device: torch.device | str = "cpu"
    ) -> BundlePredictor:
        """As `load`, from files that were read already; `path` is for messages."""
        if DESCRIPTION not in files:
            raise InputError(f"Expected {DESCRIPTION} in the bundle {path}, but it is missing.")
        description = read_description(files[DESCRIPTION], path)
        check_sums(files, path)
        model = _network(description, path)
        try:
            model.load_state_dict(read_tensors(files[WEIGHTS], f"{WEIGHTS} of {path}"))
        except RuntimeError as error:
            raise InputError(
                f"Expected the weights of {path} to fit its network, but {_first_line(error)}."
            ) from None
        reference = read_reference(files, len(description.classes))
        count = len(reference.features) if reference else 0
        return cls(
            description, model.to(device).eval().requires_grad_(False),
            reference=reference, stranger=read_stranger(files),
            examples=read_examples(files, count),
            digest=hashlib.sha256(files[SUMS]).hexdigest(),
        )  # fmt: skip

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; index = column."""
        return self.description.classes

    def read(self, path: Path, frame: int = 0) -> Gray:
        """An image as (H, W) uint8 grey values, without its marks where the model never saw any.

        Raises:
            InputError: as `data.images.read_gray`.
        """
        with cleaned(self.description.preprocessing.clean_marks):
            return read_gray(path, frame)

    def squares(self, images: Sequence[Gray]) -> Squares:
        """Letterbox (H, W) uint8 images to (N, S, S) uint8, as for training."""
        side = self.description.preprocessing.image_size_px
        return np.stack([letterbox(image, side) for image in images])

    def outputs(self, squares: Squares) -> Outputs:
        """Probabilities, logits and features of (N, S, S) uint8 letterboxed images."""
        calibration, model = self.description.calibration, self._fast
        unit = to_unit(torch.from_numpy(squares)[:, None].to(model.mean.device))
        with torch.inference_mode():
            logits, features = model.logits_and_features(unit)
            if calibration.mirror_test:
                logits = (logits + model.logits_and_features(unit.flip(3))[0]) / 2
        z, seen = logits.float().cpu().numpy(), features.float().cpu().numpy()
        probabilities = tempered(z, calibration.temperature)
        return Outputs(probabilities, z, seen, self._strangeness(squares, seen))

    def answers(self, squares: Squares, colours: ArrayLike | None = None) -> list[Answer]:
        """The answer to each of (N, S, S) uint8 letterboxed images; `colours` as `answers_to`."""
        return self.answers_to(self.outputs(squares), colours)

    def answers_to(self, outputs: Outputs, colours: ArrayLike | None = None) -> list[Answer]:
        """The answers that these outputs mean.

        Args:
            outputs: of N images.
            colours: (N,) `colour_share` of the pictures before they became grey, where known.
        """
        rows, far = outputs.probabilities, outputs.strangeness
        if colours is not None and self.stranger is not None and far is not None:
            far = np.maximum(far, self.stranger.colour_scores(colours))
        known = [None] * len(rows) if far is None else [float(d) for d in far]
        return [
            answer(self.description, row, distance, self.limit)
            for row, distance in zip(rows, known, strict=True)
        ]

    @property
    def limit(self) -> float | None:
        """Largest strangeness that is answered; None where nothing is refused."""
        if self.stranger is not None:
            return LIMIT
        known = self.reference is not None and np.isfinite(self.reference.limit)
        return self.reference.limit if self.reference and known else None

    @cached_property
    def _fast(self) -> AttentiveClassifier:
        return folded(self.model, self.description.preprocessing.image_size_px)

    def _strangeness(
        self, squares: Squares, features: NDArray[np.float32]
    ) -> NDArray[np.floating[Any]] | None:
        if self.stranger is not None:
            return self.stranger.scores(features, torch.from_numpy(squares)[:, None])
        return None if self.reference is None else self.reference.distances(features)


def _network(description: Description, path: Path) -> AttentiveClassifier:
    network = description.network
    try:
        return AttentiveClassifier(
            network.backbone, len(description.classes), network.attention, network.image_size_px,
            attention_stages=network.attention_stages, attention_at=network.attention_at,
            lesion_attention=network.lesion_attention,
            partners=network.partners, zoom=network.zoom, zoom_on=network.zoom_on,
        )  # fmt: skip
    except SettingsError as error:
        raise InputError(
            f"In {path}: {error} Install the versions of timm and sonobalance that its model.json "
            "names."
        ) from None


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
