"""What the service answers, as types that make its OpenAPI document."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """Why a request was not answered, in one sentence."""

    detail: str


class ImageInfo(BaseModel):
    """What was uploaded; the middle frame of a clip was taken."""

    width: int
    height: int
    frames: int


class Neighbour(BaseModel):
    """A training image near the upload, where the owner of the data allowed showing them."""

    label: str
    distance: float
    png: str = Field(description="data URL of a small PNG")


class Prediction(BaseModel):
    """The answer to one image."""

    predicted: str | None = Field(description="most probable class; null when refused")
    refused: bool = Field(description="the image is unlike the training images")
    probabilities: dict[str, float] = Field(description="calibrated; they sum to 1")
    conformal: list[str] = Field(description="classes of the conformal set")
    called: list[str] = Field(description="classes that reach their operating threshold")
    distance: float | None
    limit: float | None
    sentence: str
    notice: str
    image: ImageInfo
    preview: str | None = Field(None, description="data URL of the grey image as it was read")
    neighbours: list[Neighbour] = []
    model: str = Field(description="name and version")
    bundle_sha256: str


class Explanation(BaseModel):
    """An evidence map over the image."""

    method: str
    sentence: str
    target: str
    low: float = Field(description="value of the lowest colour; evidence against, where negative")
    high: float = Field(description="value of the highest colour")
    image: ImageInfo
    png: str = Field(description="data URL of a transparent PNG in the geometry of the preview")
    predicted: str | None
    notice: str


class ModelInfo(BaseModel):
    """What the bundle says about itself, and what this service can do with it."""

    description: dict[str, Any]
    bundle_sha256: str
    methods: dict[str, str] = Field(description="evidence maps: name and what it shows")
    examples: bool = Field(description="nearest training images can be shown")
    generator: bool = Field(description="synthetic images can be made")


class GeneratorInfo(BaseModel):
    """What the generator bundle can make."""

    classes: list[str]
    side_px: int
    max_samples: int
    limits: str
    fingerprint: str


class SyntheticImage(BaseModel):
    """One synthetic image with its provenance, which also stands in its PNG."""

    name: str
    png: str = Field(description="data URL")
    provenance: dict[str, str]


class Samples(BaseModel):
    """Synthetic images of a class."""

    label: str
    seed: int
    truncation: float
    images: list[SyntheticImage]
    notice: str


class State(BaseModel):
    """Whether the service lives, or is ready to answer."""

    status: str
