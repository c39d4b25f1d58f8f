"""What the routes work with: the model, its queue, the decoders, the generator, the metrics."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sonobalance.config.service import ServiceSettings
from sonobalance.data.images import Letterbox, letterbox_of
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.explanation.maps import SENTENCES
from sonobalance.service.access import Access
from sonobalance.service.batching import Batcher
from sonobalance.service.decoding import Decoded, Decoder, Undecodable, decode_upload
from sonobalance.service.gate import Turned
from sonobalance.service.heat import data_url, drawn, maps_of
from sonobalance.service.metrics import Metrics
from sonobalance.service.replies import Explanation, ImageInfo, Neighbour, Prediction

if TYPE_CHECKING:
    from sonobalance.synthesis.generator_bundle import GeneratorBundle


@dataclass
class Service:
    """A bundle at work.

    Attributes:
        predictor: the bundle, verified.
        settings: limits.
        access: who may ask.
        generator: for synthetic images, where one was given.
        methods: evidence maps that this network has, by name.
    """

    predictor: BundlePredictor
    settings: ServiceSettings
    access: Access
    generator: GeneratorBundle | None = None
    metrics: Metrics = field(default_factory=Metrics)
    batcher: Batcher = field(init=False)
    decoder: Decoder = field(init=False)
    methods: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        page = self.predictor.description.preprocessing
        side = page.image_size_px
        self.batcher = Batcher(self.predictor.outputs, self.settings, self.metrics)
        self.decoder = Decoder(self.settings, side, partial(decode_upload, clean=page.clean_marks))
        black = torch.zeros(side, side, dtype=torch.uint8).numpy()
        found = self._maps(black, letterbox_of(side, side, side), 0)
        self.methods = {name: SENTENCES[name] for name in found}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work until the server has answered its last request."""
        self.batcher.start()
        try:
            yield
        finally:
            await self.batcher.stop()
            self.decoder.close()

    @property
    def ready(self) -> bool:
        """Whether a prediction would be answered."""
        return self.batcher.alive and self.decoder.ready

    async def predict(self, content: bytes, *, preview: bool, neighbours: int) -> Prediction:
        """The answer to one upload."""
        decoded = await self._decode(content, preview=preview)
        outputs = await self.batcher.outputs(decoded.square)
        answer = self.predictor.answers_to(outputs, [decoded.colour])[0]
        self.metrics.answers.labels("refused" if answer.refused else "answered").inc()
        return Prediction(
            **answer.as_json(), image=_info(decoded),
            preview=data_url(decoded.preview) if preview else None,
            neighbours=self._neighbours(outputs.features[0], neighbours),
            model=self.name, bundle_sha256=self.predictor.digest,
        )  # fmt: skip

    async def explain(self, content: bytes, *, method: str, target: str | None) -> Explanation:
        """A map of one upload; without a target, of the most probable class."""
        if method not in self.methods:
            raise Turned(422, f"Expected a method of {', '.join(self.methods)}.")
        classes = self.predictor.classes
        if target is not None and target not in classes:
            raise Turned(422, f"Expected a class of {', '.join(classes)}.")
        decoded = await self._decode(content, preview=False)
        outputs = await self.batcher.outputs(decoded.square)
        answer = self.predictor.answers_to(outputs, [decoded.colour])[0]
        wanted = target or classes[int(outputs.probabilities[0].argmax())]
        box = letterbox_of(decoded.height, decoded.width, decoded.square.shape[0])
        maps = await self.batcher.alone(
            lambda: self._maps(decoded.square, box, classes.index(wanted))
        )
        heat = drawn(maps[method], decoded)
        return Explanation(
            method=method, sentence=self.methods[method], target=wanted, low=heat.low,
            high=heat.high, image=_info(decoded), png=data_url(heat.png),
            predicted=answer.predicted, notice=self.predictor.description.notice,
        )  # fmt: skip

    def _maps(
        self, square: NDArray[np.uint8], box: Letterbox, target: int
    ) -> dict[str, torch.Tensor]:
        mirror = self.predictor.description.calibration.mirror_test
        return maps_of(self.predictor.model, square, box, target, mirror=mirror)

    @property
    def name(self) -> str:
        """Name and version of the model."""
        return f"{self.predictor.description.name} {self.predictor.description.version}"

    async def _decode(self, content: bytes, *, preview: bool) -> Decoded:
        try:
            return await self.decoder.decode(content, preview=preview)
        except Undecodable as error:
            self.metrics.undecoded.labels(error.reason).inc()
            raise Turned(422, str(error)) from None

    def _neighbours(self, features: NDArray[np.float32], count: int) -> list[Neighbour]:
        reference, examples = self.predictor.reference, self.predictor.examples
        if not count or reference is None or examples is None:
            return []
        return [
            Neighbour(
                label=self.predictor.classes[int(reference.targets[i])], distance=distance,
                png=data_url(_png(examples[i, 0])),
            )
            for i, distance in reference.nearest(features, count)
        ]  # fmt: skip


def _info(decoded: Decoded) -> ImageInfo:
    return ImageInfo(width=decoded.width, height=decoded.height, frames=decoded.frames)


def _png(pixels: torch.Tensor) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, "PNG")
    return buffer.getvalue()
