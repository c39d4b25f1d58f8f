"""What the functions of `api` hand on, and the options that they refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sonobalance import api, cli
from sonobalance.errors import InputError


def call(*words: object) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main([str(word) for word in words])
    return int(stop.value.code or 0)


@pytest.mark.parametrize(
    "option",
    [
        {"out": Path("table.csv")},
        {"layout": "jsonl"},
        {"frames_per_clip": 3},
        {"batch_size": 4},
    ],
)
def test_the_prediction_of_a_run_refuses_the_options_of_a_bundle(
    tmp_path: Path, option: dict[str, Any]
) -> None:
    (tmp_path / "run.json").write_text("{}")
    name = next(iter(option)).replace("_", "-")
    with pytest.raises(InputError, match=f"no --{name} with the run folder"):
        api.predict(tmp_path, **option)


@pytest.mark.parametrize(
    ("words", "expected"), [(("--clean-marks",), True), (("--no-clean-marks",), False), ((), None)]
)
def test_cleaning_can_be_switched_on_and_off_and_otherwise_stays_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: bool | None
) -> None:
    asked: list[Any] = []

    def begin(_: Path, out: Path, __: str, given: dict[str, Any], **___: object) -> Path:
        asked.append(given["clean_marks"])
        return out

    monkeypatch.setattr("sonobalance.pipeline.begin", begin)
    assert call("audit", tmp_path, "--out", tmp_path / "out", *words) == 0
    assert asked == [expected]


def test_a_demo_of_other_phantoms_is_refused_not_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sonobalance.pipeline.run_all", lambda *_, **__: tmp_path)
    for number, code in ((24, 0), (24, 0), (25, cli.BAD_INPUT)):
        assert call("demo", "--out", tmp_path / "demo", "--images", number) == code
    assert "holds phantoms of images=24" in capsys.readouterr().err
