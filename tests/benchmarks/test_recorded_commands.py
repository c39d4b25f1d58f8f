"""What a result says made it can be given today: its arguments still parse."""

from __future__ import annotations

import argparse
import json
import runpy
import shlex
from pathlib import Path
from unittest import mock

import pytest

from sonobalance import cli

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "docs" / "results").glob("*.json"))


class EnoughError(Exception):
    """The arguments were understood; nothing is to be measured."""


def calls_of(result: Path, program: str) -> list[list[str]]:
    """The words behind `program` of every call that a result names as what made it."""
    command = json.loads(result.read_text(encoding="utf-8"))["command"]
    calls = [shlex.split(part) for part in command.split(";")]
    return [call[1:] for call in calls if call[0] == program]


@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.stem)
def test_a_result_names_what_made_it(result):
    assert calls_of(result, "python") or calls_of(result, "sonobalance")


@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.stem)
def test_the_arguments_of_a_recorded_run_parse(result):
    for words in calls_of(result, "sonobalance"):
        cli.app.parse_args(words, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.stem)
def test_the_arguments_of_a_recorded_command_parse(result, monkeypatch):
    parse = argparse.ArgumentParser.parse_args
    for script, *words in calls_of(result, "python"):
        monkeypatch.setattr("sys.argv", [script, *words])
        monkeypatch.syspath_prepend(ROOT / "benchmarks")

        def parsed(parser, *given):
            parse(parser, *given)
            raise EnoughError

        with mock.patch("argparse.ArgumentParser.parse_args", parsed), pytest.raises(EnoughError):
            runpy.run_path(str(ROOT / script), run_name="__main__")
