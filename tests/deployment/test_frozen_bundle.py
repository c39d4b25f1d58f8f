"""Bundles of every format version so far keep loading and keep their answers."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from sonobalance.deployment.check import load_verified
from sonobalance.deployment.description import READERS, read_description
from sonobalance.errors import InputError
from sonobalance.version import BUNDLE_FORMAT

FOLDER = Path(__file__).parent


@pytest.mark.parametrize("version", sorted(READERS))
def test_an_old_bundle_keeps_its_answers(version):
    predictor, worst = load_verified(FOLDER / f"frozen_v{version}.zip")
    assert worst < 1e-4
    assert predictor.description.format_version == version
    assert predictor.classes == ("benign", "malignant", "normal")


def test_every_version_up_to_this_one_is_read():
    assert sorted(READERS) == list(range(1, BUNDLE_FORMAT + 1))
    assert all((FOLDER / f"frozen_v{v}.zip").stat().st_size < 350_000 for v in READERS)


def test_the_first_version_counted_its_partners():
    with zipfile.ZipFile(FOLDER / "frozen_v1.zip") as archive:
        name = next(n for n in archive.namelist() if n.endswith("model.json"))
        page = json.loads(archive.read(name))
    page["network"]["partners"] = 2
    read = read_description(json.dumps(page).encode(), Path("old"))
    assert read.network.partners == ("test_efficientnet",) * 2
    page["network"]["partners"] = 10**12
    with pytest.raises(InputError, match="partners"):
        read_description(json.dumps(page).encode(), Path("old"))
