"""The pages that are made from the code are as the code is today."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import sonobalance

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    ("script", "page"),
    [("make_settings_reference.py", "settings.md"), ("make_api_reference.py", "api.md")],
)
def test_a_page_made_from_the_code_is_up_to_date(script, page):
    made = runpy.run_path(str(DOCS / script))["reference"]()
    assert made == (DOCS / page).read_text(encoding="utf-8"), "run `make docs`"


def test_the_python_reference_has_every_public_name():
    page = (DOCS / "api.md").read_text(encoding="utf-8")
    assert not [n for n in sonobalance.__all__ if f"`{n}`" not in page and n != "__version__"]
