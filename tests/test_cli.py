"""The command line as a user meets it."""

from __future__ import annotations

import errno
import inspect
import os
import pkgutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import sonobalance
from sonobalance import api, cli

MODULES_OF_HELP = """
import sys
from sonobalance.cli import main
try:
    main(["run", "--help"])
except SystemExit as stop:
    assert stop.code == 0
heavy = {"torch", "pandas", "sklearn", "scipy", "cv2", "matplotlib", "numpy"} & set(sys.modules)
assert not heavy, heavy
"""


def call(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(words))
    return int(stop.value.code or 0)


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MODULES_OF_HELP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--gan.alpha" in done.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_is_a_documented_function_of_the_same_name(command: str) -> None:
    function = getattr(sonobalance, command.replace("-", "_"))
    assert function is getattr(api, command.replace("-", "_"))
    assert inspect.getdoc(function)
    assert call(command, "--help") == 0


def test_no_module_has_the_name_of_a_function() -> None:
    """Importing such a module would replace the function in the package's namespace."""
    modules = {module.name for module in pkgutil.iter_modules(sonobalance.__path__)}
    assert not modules & set(sonobalance.__all__)


def test_bad_input_is_one_sentence_and_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("run", str(tmp_path / "none"), "--out", str(tmp_path / "out")) == cli.BAD_INPUT
    text = capsys.readouterr().err
    assert text.startswith("sonobalance: Expected a folder of images at")
    assert "Traceback" not in text
    assert not (tmp_path / "out").exists()


def test_an_unknown_option_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "x", "--out", "y", "--gan.latent-dims", "3") == cli.BAD_INPUT
    assert "did you mean --gan.latent-dim?" in capsys.readouterr().err


def test_an_option_of_another_command_is_not_its_own_nearest(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert call("train-gan", "x", "--classifier.weights", "y") == cli.BAD_INPUT
    text = capsys.readouterr().err
    assert "no option --classifier.weights" in text
    assert "did you mean" not in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("audit", "x"), "Expected a value for --out, but got none; see sonobalance audit --help."),
        (("run",), "Expected a value for FOLDER, but got none; give it before the options"),
        (
            ("run", "x", "--out", "y", "--arms", "none", "nonee"),
            "Expected a valid value for 'arms.1'",
        ),
        (("train", "x", "--classifier.epochs"), "Expected a value for --classifier.epochs"),
        (("split", "my", "run"), "Expected nothing more, but got 'run'; put a name with spaces"),
        (("predict", "--images"), "There is no option --images; see --help."),
        (("predict", "x", "--ot", "y"), "There is no option --ot; did you mean --out?"),
        (("run", "x", "--out", "y", "--latent-dim", "3"), "did you mean --gan.latent-dim?"),
    ],
)
def test_words_that_do_not_fit_are_named(
    words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(*words) == cli.BAD_INPUT
    assert told in capsys.readouterr().err


def test_a_value_out_of_range_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("run", "x", "--out", "y", "--gan.alpha", "-4") == cli.BAD_INPUT
    assert "'gan.alpha': Input should be greater than 0" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(sonobalance.errors.InputError):
        cli.main(["run", str(tmp_path / "none"), "--out", str(tmp_path / "out"), "--debug"])


@pytest.mark.parametrize("letters", [10, 1_000_000])
def test_a_reader_who_leaves_hears_nothing(letters: int) -> None:
    """As with `| head`, who leaves while a command writes or before its last words."""
    code = (
        "from sonobalance import cli\n"
        f"cli.app = lambda *_, **__: print('x' * {letters})\n"
        "cli.main([])\n"
    )
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=closed, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (1, "")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (OSError(errno.ENOSPC, "No space left"), "Cannot read or write (No space left); check"),
        (OSError("odd"), "Cannot read or write (odd); check"),
        (OSError(errno.ENOSPC, "No space left", "a.png"), "Cannot use a.png (No space left)"),
    ],
)
def test_a_failure_of_the_system_names_what_is_known(error: OSError, text: str) -> None:
    assert cli.sentence(error).startswith(text)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    said = capsys.readouterr().out
    assert f"sonobalance {sonobalance.__version__} (torch {version('torch')}, bundle format" in said


def test_help_lists_commands_in_the_order_of_their_use_and_settings_by_section(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    page = capsys.readouterr().out
    places = [page.index(f"│ {name} ") for name in cli.COMMANDS]
    assert places == sorted(places)
    with pytest.raises(SystemExit):
        cli.main(["run", "--help"])
    page = capsys.readouterr().out
    assert page.index("--dry-run") < page.index("Settings: ") < page.index("--data.layout")
