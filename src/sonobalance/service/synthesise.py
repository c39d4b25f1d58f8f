"""Synthetic images for the page: made in memory, marked as synthetic in every PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sonobalance.config.service import ServiceSettings
from sonobalance.notice import NOTICE
from sonobalance.service.gate import Turned
from sonobalance.service.heat import data_url
from sonobalance.service.replies import GeneratorInfo, Samples, SyntheticImage
from sonobalance.synthesis.drawing import Request, make_images
from sonobalance.synthesis.generator_bundle import LIMITS
from sonobalance.synthesis.provenance import text_chunks

if TYPE_CHECKING:
    from sonobalance.synthesis.generator_bundle import GeneratorBundle


def generator_info(generator: GeneratorBundle, settings: ServiceSettings) -> GeneratorInfo:
    """What a generator bundle can make."""
    return GeneratorInfo(
        classes=list(generator.document["train"]["images"]), limits=LIMITS,
        side_px=generator.sampler.image_size_px, max_samples=settings.max_samples,
        fingerprint=generator.fingerprint,
    )  # fmt: skip


def make_samples(
    generator: GeneratorBundle, label: str, count: int, *, seed: int, truncation: float
) -> Samples:
    """Images of one class; the same arguments give the same images.

    Raises:
        Turned: the generator does not know the class.
    """
    known = list(generator.document["train"]["images"])
    if label not in known:
        raise Turned(422, f"Expected a class of {', '.join(known)}.")
    request = Request(label, count, seed, truncation, gates=False)
    candidates, pixels = make_images(generator, request)
    images = []
    for candidate, image in zip(candidates, pixels, strict=True):
        text = text_chunks(
            candidate, generator.fingerprint, generator.document["train"]["hash"],
            truncation=truncation, interpolation=0,
        )  # fmt: skip
        name = f"synthetic-{candidate.id}.png"
        png = data_url(_png(image[0].numpy(), text))
        images.append(SyntheticImage(name=name, png=png, provenance=text))
    return Samples(label=label, seed=seed, truncation=truncation, images=images, notice=NOTICE)


def _png(pixels: object, text: dict[str, str]) -> bytes:
    chunks = PngInfo()
    for key, value in text.items():
        chunks.add_text(key, value)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=chunks)  # type: ignore[arg-type]
    return buffer.getvalue()
