"""From a trained folder to probabilities: the one path that commands, report and service use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file

from sonobalance.classify.build import network
from sonobalance.classify.features import resized
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.places import page_file, weights_file
from sonobalance.config import ClassifierSettings
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.errors import InputError
from sonobalance.files import read_json, sha256_of
from sonobalance.progress import track
from sonobalance.temperature import tempered

FORMAT = "sonobalance-classifier-1"
_BEFORE = {"lesion_attention": False}  # of files that do not know this setting
_NEEDED = {"classes", "preprocessing", "temperature", "mirror_test", "weights_sha256", "settings"}


@dataclass(frozen=True)
class Predictor:
    """A trained classifier, ready to use.

    Attributes:
        model: the network, in evaluation mode.
        classes: class names; index = column.
        image_size_px: side that images are letterboxed to.
        temperature: divides logits before the softmax; fitted on VAL.
        mirror: average logits of an image and its left-right mirror.
        description: the content of `model.json`.
    """

    model: AttentiveClassifier
    classes: tuple[str, ...]
    image_size_px: int
    temperature: float
    mirror: bool
    description: dict[str, Any]

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> Predictor:
        """Read what `train_classifier` wrote.

        Raises:
            InputError: a file is missing, damaged, of another format, or the weights are not those
                that `model.json` names.
        """
        named = page_file(folder)
        page = read_json(named)
        if not isinstance(page, dict) or page.get("format") != FORMAT:
            raise InputError(f"Expected {named} to have the format {FORMAT}.")
        if missing := sorted(_NEEDED - set(page)):
            raise InputError(f"Expected {named} to have {', '.join(missing)}.")
        path = weights_file(folder)
        if not path.is_file():
            raise InputError(f"Expected weights at {path}, but there are none; run `train` again.")
        if sha256_of(path) != page["weights_sha256"]:
            raise InputError(
                f"Expected {path} to be the weights that {named} names, but their "
                "SHA-256 differs; run `train` again."
            )
        model = _network(page, folder)
        try:
            model.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError) as error:
            raise InputError(f"Expected {path} to fit its model.json, but {error}.") from None
        return cls(
            model.to(device).eval(), tuple(page["classes"]),
            page["preprocessing"]["image_size_px"], page["temperature"], page["mirror_test"], page,
        )  # fmt: skip

    def logits(self, images: LabelledImages, *, batch_size: int = 32) -> NDArray[np.float32]:
        """(N, K) float32 logits, before the temperature; in the order of the images.

        Raises:
            InputError: the images were loaded with other classes.
        """
        if images.classes != self.classes:
            raise InputError(
                f"Expected images of the classes {list(self.classes)}, but got "
                f"{list(images.classes)}."
            )
        return model_logits(
            self.model, images, mirror=self.mirror, batch_size=batch_size,
            image_size_px=self.image_size_px, title="predicting",
        )  # fmt: skip

    def probabilities(self, images: LabelledImages, *, batch_size: int = 32) -> NDArray[np.float64]:
        """(N, K) calibrated class probabilities, each row summing to 1."""
        return tempered(self.logits(images, batch_size=batch_size), self.temperature)


def model_logits(
    model: AttentiveClassifier,
    images: LabelledImages,
    *,
    mirror: bool = False,
    batch_size: int = 32,
    image_size_px: int | None = None,
    title: str = "",
) -> NDArray[np.float32]:
    """(N, K) float32 logits of a model, which is put into evaluation mode.

    Args:
        model: on any device.
        images: N images.
        mirror: average with the logits of the left-right mirror.
        batch_size: images per forward pass; changes no value beyond rounding.
        image_size_px: resize to this side first; None: they have the right size.
        title: of the progress bar; none is shown without one.
    """
    if model.training:  # walking through all layers takes a tenth of the time of one image
        model.eval()
    device = model.mean.device
    parts = images.pixels.split(batch_size)
    rows = []
    with torch.inference_mode(), working_in_place(model):
        for part in track(parts, title, len(parts)) if title else parts:
            batch = to_unit(part.to(device))
            batch = batch if image_size_px is None else resized(batch, image_size_px)
            out = model(batch)
            rows.append(((out + model(batch.flip(3))) / 2 if mirror else out).float().cpu())
    if not rows:
        return np.zeros((0, len(images.classes)), np.float32)
    logits: NDArray[np.float32] = torch.cat(rows).numpy()
    return logits


@contextmanager
def working_in_place(model: AttentiveClassifier) -> Iterator[None]:
    """Activations overwrite their input, as timm means them to; a sixth of the time is saved.

    They must not do so while maps are made, which look at what layers gave.
    """
    for module in model.overwriting:
        module.inplace = True
    try:
        yield
    finally:
        for module in model.overwriting:
            module.inplace = False


def _network(page: dict[str, Any], folder: Path) -> AttentiveClassifier:
    try:
        settings = ClassifierSettings.model_validate(_BEFORE | page["settings"])
    except ValidationError as error:
        raise InputError(f"Expected settings in {page_file(folder)}, but {error}.") from None
    return network(settings, len(page["classes"]), partners=_partners(page))


def _partners(page: dict[str, Any]) -> list[str]:
    """Backbones of the further members; they were once only counted, being of the same one."""
    given = page.get("partners", 0)
    return [page["settings"]["backbone"]] * given if isinstance(given, int) else given
