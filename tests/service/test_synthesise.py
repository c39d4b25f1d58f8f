"""Synthetic images over HTTP: reproducible, marked, and only where a generator was given."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from sonobalance.config import GanSettings, ServiceSettings
from sonobalance.gan.framing import find_frames
from sonobalance.gan.latents import LatentBank
from sonobalance.gan.networks import Encoder
from sonobalance.gan.sampling import Sampler
from sonobalance.gan.snapshot import Snapshot, make_generator
from sonobalance.service.access import Access
from sonobalance.service.app import make_app
from sonobalance.service.service import Service
from sonobalance.synthesis.generator_bundle import GeneratorBundle

SETTINGS = GanSettings(image_size_px=32, base_channels=4, latent_dim=8)
CLASSES = ("benign", "malignant")


def untrained() -> GeneratorBundle:
    """A generator with random weights; gates are not asked by the service."""
    torch.manual_seed(0)
    frames = find_frames(torch.full((6, 1, 32, 32), 9, dtype=torch.uint8))
    bank = LatentBank(torch.randn(6, 2, 8), torch.arange(6) % 2, frames)
    ids = tuple(f"train{i}" for i in range(6))
    generator = make_generator(SETTINGS, 2).eval()
    encoder = Encoder(32, 4, 8)
    snapshot = Snapshot(SETTINGS, CLASSES, ids, "h", 0.0, generator, {}, bank, encoder)
    document = {
        "classes": list(CLASSES), "default_round": 1, "files": {"round-1.safetensors": "f" * 64},
        "train": {"images": {"benign": 3, "malignant": 3}, "hash": "a" * 64},
    }  # fmt: skip
    sampler = Sampler(snapshot, torch.device("cpu"))
    return GeneratorBundle(Path("none"), document, sampler, None, None)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def making(predictor):
    settings = ServiceSettings(decoders=1, requests_per_minute=0, max_samples=5)
    service = Service(predictor, settings, Access(None), untrained())
    with TestClient(make_app(service), "http://127.0.0.1") as client:
        yield client


def test_what_can_be_made(making, client):
    page = making.get("/generator").json()
    assert page["classes"] == list(CLASSES)
    assert page["max_samples"] == 5
    assert making.get("/model").json()["generator"] is True
    assert client.get("/generator").status_code == 404


def test_images_are_reproducible_and_carry_their_provenance(making):
    wanted = {"label": "malignant", "count": 3, "seed": 7, "truncation": 0.5}
    first, second = (making.post("/sample", params=wanted).json() for _ in range(2))
    assert first == second
    assert len({image["png"] for image in first["images"]}) == 3
    other = making.post("/sample", params=wanted | {"seed": 8}).json()
    assert other["images"][0]["png"] != first["images"][0]["png"]
    for image in first["images"]:
        assert image["name"].startswith("synthetic-")
        picture = Image.open(io.BytesIO(base64.b64decode(image["png"].split(",")[1])))
        assert picture.size == (32, 32)
        assert picture.info == image["provenance"]
        assert "synthetic" in " ".join(f"{k} {v}" for k, v in picture.info.items()).lower()
        assert "train" in " ".join(picture.info.values())


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"label": "cat"}, "benign"), ({"count": 6}, "count"), ({"truncation": 3}, "truncation"),
     ({"seed": -1}, "seed")],
)  # fmt: skip
def test_bad_wishes_are_one_sentence(making, changed, words):
    found = making.post("/sample", params={"label": "benign", "count": 1} | changed)
    assert found.status_code == 422
    assert words in found.json()["detail"]
