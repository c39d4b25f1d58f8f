"""A made-up run, whole for reading or one's own to change."""

import shutil

import pytest
from made_up_run import make_run
from markupsafe import Markup

from sonobalance.reporting import figures, score_figures


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory):
    """A complete made-up run; tests only read it."""
    return make_run(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def own_run(whole_run, tmp_path):
    """A complete made-up run that a test may change; its images are those of `whole_run`."""
    return shutil.copytree(whole_run, tmp_path / "run")


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the charts out of pages that are not about them: drawing takes most of the time."""
    for module in (figures, score_figures):
        monkeypatch.setattr(module, "svg", lambda *_: Markup())
