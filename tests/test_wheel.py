"""The wheel holds all that is no code, and works where the source tree is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import sonobalance

ROOT = Path(__file__).parents[1]
BUNDLE = ROOT / "tests" / "deployment" / "frozen_v1.zip"
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "src")
SCRIPT = """
import sys
from pathlib import Path
import sonobalance
assert Path(sonobalance.__file__).is_relative_to(sys.prefix), sonobalance.__file__
from starlette.testclient import TestClient
from sonobalance.config import ServiceSettings
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.service.access import Access
from sonobalance.service.app import make_app
from sonobalance.service.service import Service
predictor = BundlePredictor.load(Path(sys.argv[1]))
service = Service(predictor, ServiceSettings(decoders=1), Access(None))
with TestClient(make_app(service), base_url="http://127.0.0.1") as client:
    page = client.get("/")
    assert page.status_code == 200 and "sonobalance" in page.text
"""


def run(*command: object) -> str:
    """Its standard output; the tree's own code cannot be found through the environment."""
    found = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env=found, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the tree stays clean."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
        "--no-build-isolation", "--wheel-dir", out, source)  # fmt: skip
    return next(out.glob("*.whl"))


def test_templates_and_static_files_are_in_the_wheel(wheel: Path) -> None:
    package = ROOT / "src" / "sonobalance"
    wanted = {
        f"sonobalance/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in wanted if name.endswith((".j2", ".css", ".js", ".html"))}
    assert wanted - names == set()


def test_the_wheel_works_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """Other packages are lent by this environment; sonobalance itself comes from the wheel."""
    venv.create(tmp_path / "fresh", with_pip=False)
    python = tmp_path / "fresh" / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps",
        "--no-index", wheel)  # fmt: skip
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (own / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    command = python.with_name("sonobalance")
    assert f"sonobalance {sonobalance.__version__} (torch" in run(command, "--version")
    assert run(command, "verify", BUNDLE).strip() == str(BUNDLE)
    run(python, "-c", SCRIPT, BUNDLE)
