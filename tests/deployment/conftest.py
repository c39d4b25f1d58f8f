"""One small bundle for all tests of this folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from made_up_bundle import bundle_files

from sonobalance.deployment.archive import write_bundle
from sonobalance.deployment.predictor import BundlePredictor


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test changes; its ZIP stands beside it."""
    return write_bundle(tmp_path_factory.mktemp("bundle") / "toy", bundle_files())


@pytest.fixture(scope="session")
def predictor(whole: Path) -> BundlePredictor:
    return BundlePredictor.load(whole)


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Callable[[], Path]:
    """A fresh copy of the bundle to damage."""

    def make() -> Path:
        target = tmp_path / "copy"
        shutil.rmtree(target, ignore_errors=True)
        return Path(shutil.copytree(whole, target))

    return make
