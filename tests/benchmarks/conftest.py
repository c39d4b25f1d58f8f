"""The benchmarks as modules."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def module(monkeypatch):
    """Import one by name; they import each other by name, too."""
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module
