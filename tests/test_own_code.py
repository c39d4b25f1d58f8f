"""The example of one's own training code does what it prints."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from sonobalance.data.phantoms import make_phantoms

SCRIPT = Path(__file__).parents[1] / "examples" / "own_code.py"


def test_own_code_balances_train_and_compares_on_real_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_phantoms(tmp_path / "phantoms", images=60, size_px=64)
    monkeypatch.setattr("sys.argv", [str(SCRIPT), str(folder)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    first, *recalls = capsys.readouterr().out.splitlines()
    benign, malignant, _, more_benign, more_malignant, _ = map(int, re.findall(r"\d+", first))
    assert malignant < benign == more_benign == more_malignant
    assert len(recalls) == 2
    assert all(0 <= float(v) <= 1 for line in recalls for v in re.findall(r"\d\.\d\d", line))
