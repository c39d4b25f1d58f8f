"""The command line: registers the functions of `api` as commands and declares nothing again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

import docstring_parser
from cyclopts import (
    App,
    ArgumentCollection,
    CycloptsError,
    Group,
    MissingArgumentError,
    UnknownOptionError,
)
from cyclopts.exceptions import UnusedCliTokensError
from pydantic import ValidationError

from sonobalance import api
from sonobalance.errors import SonobalanceError
from sonobalance.layers import nearest_name, validation_sentence
from sonobalance.version import versions

CHAPTERS = {
    "Whole jobs": ("run", "benchmark", "demo"),
    "Stages, in their order": (
        "index", "audit", "split", "train-gan", "synthesize", "train", "predict", "evaluate",
        "explain", "report",
    ),
    "Synthetic images": ("sample", "regenerate", "memorisation", "export"),
    "Models": ("bundle", "verify", "export-onnx", "serve"),
    "Around it": ("fetch", "doctor"),
}  # fmt: skip
COMMANDS = tuple(name for names in CHAPTERS.values() for name in names)
BAD_INPUT = 2
INTERRUPTED = 130

_parse_docstring = docstring_parser.parse_from_object


def _docstring_of_function(thing: object) -> docstring_parser.Docstring:
    """Parse docstrings of functions only.

    Cyclopts looks for attribute docstrings in the source of every settings class and its bases,
    which was most of the time of `--help`; our settings are described by their fields.
    """
    if isinstance(thing, type):
        raise TypeError
    return _parse_docstring(thing)


docstring_parser.parse_from_object = _docstring_of_function  # type: ignore[assignment]

app = App(
    name="sonobalance",
    help="Audit, split, balance, classify and explain small imbalanced ultrasound image sets.",
    help_epilogue="Research software, not a medical device. Add --debug for a traceback.",
    version=versions,
    result_action="return_value",
)
for chapter, names in CHAPTERS.items():
    group = Group.create_ordered(chapter)
    for place, name in enumerate(names):
        app.command(getattr(api, name.replace("-", "_")), name=name, group=group, sort_key=place)


def main(argv: list[str] | None = None) -> None:
    """Run one command and leave with its exit code: 0 done, 2 bad input, 130 interrupted."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    arguments = [word for word in arguments if word != "--debug"]
    try:
        result = app(arguments, exit_on_error=False, print_error=False)
        if isinstance(result, Path):
            print(result)
        sys.stdout.flush()
    except KeyboardInterrupt:
        fail("Interrupted; give the same command again to go on.", INTERRUPTED)
    except BrokenPipeError:  # such as `| head`: nobody reads on
        if debug:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else flushed at exit
        sys.exit(1)
    except (SonobalanceError, CycloptsError, ValidationError, OSError) as error:
        if debug:
            raise
        fail(sentence(error), BAD_INPUT)
    except Exception as error:  # a bug of ours: still one sentence for the user
        if debug:
            raise
        fail(f"Unexpected {type(error).__name__}: {error}. Please report it with --debug.", 1)
    sys.exit(result if isinstance(result, int) else 0)


def fail(text: str, code: int) -> None:
    """Print one sentence on standard error and exit."""
    print(f"sonobalance: {text}", file=sys.stderr)
    sys.exit(code)


def sentence(error: Exception) -> str:
    """The one sentence for an error."""
    for candidate in (error, error.__cause__):
        if isinstance(candidate, ValidationError):
            return validation_sentence(candidate)
    if isinstance(error, UnknownOptionError):
        return _of_option(error)
    if isinstance(error, MissingArgumentError | UnusedCliTokensError):
        return _of_words(error)
    if isinstance(error, OSError):
        what = "read or write" if error.filename is None else f"use {error.filename}"
        return f"Cannot {what} ({error.strerror or error}); check the path and the free space."
    return " ".join(str(error).split())


def _of_option(error: UnknownOptionError) -> str:
    """An option that the command does not have, with the one that may have been meant."""
    given = str((error.token.keyword or error.token.value) if error.token else "")
    setting = "--" + (nearest_name(given.lstrip("-")) or "").replace("_", "-")
    if setting == given:
        return f"This command has no option {given}, other commands do; see --help."
    own = [name for argument in _arguments_of(error.command_chain or ()) for name in argument.names]
    near = [*get_close_matches(given, own, 1), *({setting} & set(own))]
    return f"There is no option {given}; " + (f"did you mean {near[0]}?" if near else "see --help.")


def _arguments_of(command: Iterable[str]) -> ArgumentCollection:
    of = app
    for name in command:
        of = of[name]
    return of.assemble_argument_collection()


def _of_words(error: MissingArgumentError | UnusedCliTokensError) -> str:
    """A value is missing, or there is one too many."""
    command = " ".join(("sonobalance", *(error.command_chain or ())))
    if isinstance(error, MissingArgumentError):
        name = error.argument.name if error.argument else "an option"
        where = ""
        if error.argument and error.argument.field_info.is_positional:
            name, where = name.lstrip("-").upper(), "give it before the options, "
        return f"Expected a value for {name}, but got none; {where}see {command} --help."
    extra = " ".join(error.unused_tokens or ())
    return (
        f"Expected nothing more, but got {extra!r}; put a name with spaces in quotes, "
        f"or see {command} --help."
    )
