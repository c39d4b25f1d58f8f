"""What a result says made it can be given today: its arguments still parse."""

from __future__ import annotations

import argparse
import json
import runpy
import shlex
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = sorted((ROOT / "docs" / "results").glob("*.json"))


class Parsed(Exception):
    """The arguments were understood."""


def scripts_of(result: Path) -> list[list[str]]:
    """The words of every script that a result names as what made it."""
    command = json.loads(result.read_text(encoding="utf-8")).get("command", "")
    words = [shlex.split(part) for part in str(command).split(";")]
    return [part[1:] for part in words if part[:1] == ["python"]]


@pytest.mark.parametrize("result", RESULTS, ids=lambda path: path.stem)
def test_the_arguments_of_a_recorded_command_parse(result, monkeypatch):
    parse = argparse.ArgumentParser.parse_args
    for script, *words in scripts_of(result):
        monkeypatch.setattr("sys.argv", [script, *words])
        monkeypatch.syspath_prepend(ROOT / "benchmarks")

        def parsed(parser, *given):
            parse(parser, *given)
            raise Parsed

        with mock.patch("argparse.ArgumentParser.parse_args", parsed), pytest.raises(Parsed):
            runpy.run_path(str(ROOT / script), run_name="__main__")
