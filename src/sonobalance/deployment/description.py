"""`model.json`: what a bundle is, how to feed it, what it was made from and how well it did.

Field names follow the `metadata.json` of MONAI bundles where that has the same thing
(`network_data_format`, `intended_use`, `eval_metrics`, `data_source`, ...). A new format version
gets a reader of its own here, so that old bundles keep loading.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from sonobalance.config import Attention, Section, ZoomOn
from sonobalance.errors import InputError
from sonobalance.layers import validation_sentence
from sonobalance.version import BUNDLE_FORMAT

FORMAT = "sonobalance-bundle"
MOST_PARTNERS = 34  # two backbones with sixteen members each, their first heads, a partner


class Interval(Section):
    """A value with its interval; null where there is none."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Network(Section):
    """How the network is built before its weights are loaded."""

    backbone: str = Field(max_length=100)
    attention: Attention
    attention_stages: int = Field(ge=1, le=16)
    attention_at: tuple[Annotated[int, Field(ge=0, le=1000)], ...] = Field((), max_length=1000)
    lesion_attention: bool = False
    partners: tuple[Annotated[str, Field(max_length=100)], ...] = Field(
        (), max_length=MOST_PARTNERS
    )
    zoom: float = Field(1.0, ge=1, le=2)
    zoom_on: ZoomOn = "middle"
    image_size_px: int = Field(ge=32, le=1024)


class Preprocessing(Section):
    """From a decoded image to the input of the network; the prose says it for other languages.

    Attributes:
        clean_marks: whether burnt-in marks are painted over first, as they were for training.
    """

    image_size_px: int = Field(ge=32, le=1024)
    clean_marks: bool = False
    grey: str
    letterbox: str
    input_range: tuple[float, float]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Calibration(Section):
    """From logits to probabilities: softmax(logits / temperature), fitted on VAL.

    Attributes:
        mirror_test: whether logits are the mean over an image and its left-right mirror.
    """

    temperature: float = Field(gt=0, le=100)
    mirror_test: bool


class Threshold(Section):
    """The probability from which an image counts as of a class, chosen on VAL, measured on TEST."""

    threshold: float = Field(ge=0, le=1)
    sensitivity_wanted: float
    sensitivity: Interval
    specificity: Interval


class Conformal(Section):
    """Sets of classes that hold the truth with a wanted chance (split conformal, LAC, on VAL).

    Attributes:
        cutoff: the least probability a class needs to enter the set.
        quantile: 1 - cutoff, the quantile of the scores 1 - p(true class).
    """

    coverage_wanted: float = Field(gt=0, lt=1)
    cutoff: float = Field(ge=0, le=1)
    quantile: float = Field(ge=0, le=1)
    coverage: Interval
    mean_size: Interval


class TrainingData(Section):
    """What the network learned from.

    Attributes:
        sha256: over the sorted SHA-256 digests and frames of the real TRAIN images.
        counts: part (real, synthetic, validation, test) → class → images.
    """

    name: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    counts: dict[str, dict[str, int]]


class Description(Section):
    """The content of `model.json` in the present format.

    Attributes:
        leaky: whether relatives of TRAIN images stand in TEST.
        confidence: level of the intervals, in (0, 1).
        refuses: whether images unlike TRAIN are refused.

    These three are None in bundles that were made before they were recorded.
    """

    format: Literal["sonobalance-bundle"]
    format_version: int = Field(ge=1)
    name: str = Field(max_length=200)
    version: str = Field(max_length=50)
    changelog: dict[str, str]
    sonobalance_version: str
    pytorch_version: str
    numpy_version: str
    required_packages_version: dict[str, str]
    task: str
    description: str
    authors: str
    copyright: str
    licence: str
    data_source: str
    data_type: str
    image_classes: str
    label_classes: str
    pred_classes: str
    eval_metrics: dict[str, Interval]
    intended_use: str
    limits: tuple[str, ...]
    notice: str
    references: tuple[str, ...]
    network_data_format: dict[str, Any]
    classes: tuple[str, ...] = Field(min_length=2, max_length=1000)
    network: Network
    preprocessing: Preprocessing
    calibration: Calibration
    thresholds: dict[str, Threshold]
    conformal: Conformal | None
    training_data: TrainingData
    examples: bool
    made_from: dict[str, Any]
    leaky: bool | None = None
    confidence: float | None = Field(None, gt=0, lt=1)
    refuses: bool | None = None


def read_description(content: bytes, where: Path) -> Description:
    """The description of a bundle of this or an earlier format version.

    Raises:
        InputError: it is no description of a bundle, or of a version that is not known here.
    """
    try:
        page = json.loads(content)
    except (ValueError, RecursionError):
        page = None
    if not isinstance(page, dict) or page.get("format") != FORMAT:
        raise InputError(f"Expected model.json of {where} to have the format {FORMAT}.")
    version = page.get("format_version")
    reader = READERS.get(version) if isinstance(version, int) else None
    if reader is None:
        raise InputError(
            f"Expected a bundle of format version 1 to {BUNDLE_FORMAT}, but {where} has version "
            f"{version!r}; use the version of sonobalance that wrote it, or a newer one."
        )
    try:
        return _checked(reader(page), where)
    except ValidationError as error:
        raise InputError(f"In model.json of {where}: {validation_sentence(error)}") from None


def _checked(description: Description, where: Path) -> Description:
    known = set(description.classes)
    if len(known) < len(description.classes) or not set(description.thresholds) <= known:
        raise InputError(f"Expected each class once, and thresholds of them only, in {where}.")
    if description.network.image_size_px != description.preprocessing.image_size_px:
        raise InputError(f"Expected one image size in model.json of {where}, but got two.")
    return description


def _version_1(page: Mapping[str, Any]) -> Description:
    """Partners were so many networks of the same backbone."""
    network = page.get("network")
    if isinstance(network, dict):
        count = network.get("partners", 0)
        if isinstance(count, int) and 0 <= count <= MOST_PARTNERS:
            page = {**page, "network": network | {"partners": [network.get("backbone")] * count}}
    return Description.model_validate(page)


READERS: dict[int, Callable[[Mapping[str, Any]], Description]] = {
    1: _version_1,
    2: Description.model_validate,
}
