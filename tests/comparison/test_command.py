"""The one line that repeats a benchmark is read back as the same settings."""

import shlex
from pathlib import Path

from sonobalance import runs
from sonobalance.cli import app
from sonobalance.comparison.command import command_of
from sonobalance.comparison.protocol import Protocol
from sonobalance.layers import parse, resolve


def test_the_keys_of_a_dictionary_stay_as_they_are(tmp_path: Path) -> None:
    given = {
        "clean_marks": True,
        "synthesis": {"counts": {"non_mass": 3, "mass-like": 4}, "harm_guard": False},
        "evaluation": {"external_classes": {"non_mass": "be_nign", "4.a": "be_nign"}},
    }
    base = runs.new(tmp_path, tmp_path / "data", parse(given), None)
    line = command_of(base, Protocol(), None, ["none"])
    words = shlex.split(line)[1:]
    mapping = '{"non_mass": "be_nign", "4.a": "be_nign"}'
    assert words[words.index("--evaluation.external-classes") + 1] == mapping
    _, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
    read = resolve(given=bound.arguments["settings"])
    assert read.model_copy(update={"arms": ()}) == base.settings.model_copy(update={"arms": ()})
