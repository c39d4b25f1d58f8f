"""The frozen bundle behind the whole service, in this process."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("fastapi")
from starlette.testclient import TestClient

from sonobalance.config import ServiceSettings
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.service.access import Access
from sonobalance.service.app import make_app
from sonobalance.service.service import Service

BUNDLE = Path(__file__).parents[1] / "deployment" / "frozen_v1.zip"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def predictor() -> BundlePredictor:
    return BundlePredictor.load(BUNDLE)


@pytest.fixture(scope="session")
def service(predictor: BundlePredictor) -> Service:
    return Service(predictor, ServiceSettings(decoders=1, requests_per_minute=0), Access(None))


@pytest.fixture(scope="session")
def client(service: Service) -> Iterator[TestClient]:
    with TestClient(make_app(service), base_url="http://127.0.0.1") as made:
        yield made


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """(height, width, kind) → the bytes of an image."""

    def make(height: int = 60, width: int = 80, kind: str = "PNG", seed: int = 0) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, kind)
        return buffer.getvalue()

    return make
