"""Write docs/api.md from signatures and docstrings, so that the page cannot be out of date."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import sonobalance
from sonobalance import errors
from sonobalance.cli import CHAPTERS

TARGET = Path(__file__).parent / "api.md"
HEAD = """# Python reference

Made by `make docs` from `src/sonobalance/`; do not edit.

Every name below is in `sonobalance`; importing it is cheap, and torch is loaded by what needs it.
Most functions return the path of what they made. Each is a command, too, of the same name and
arguments (`train_gan` is `sonobalance train-gan`, `dry_run=True` is `--dry-run`); a settings object
is given there by its dotted names (`gan=GanSettings(alpha=0.7)` is `--gan.alpha 0.7`). `Settings`,
`GanSettings` and `SynthesisSettings` are in `sonobalance`, the other sections in
`sonobalance.config`; [all of them](settings.md). [What writes what](architecture.md).
"""
CLASSES = {
    "Synthetic images": ("SyntheticBalancer", "CopyPasteBalancer", "BalancedDataset"),
    "Models": ("BundlePredictor",),
}


def reference() -> str:
    """The whole page."""
    parts = [HEAD]
    for chapter, commands in CHAPTERS.items():
        parts.append(f"## {chapter}\n")
        names = (*CLASSES.get(chapter, ()), *(name.replace("-", "_") for name in commands))
        parts += ["\n".join(entry(name, getattr(sonobalance, name))) for name in names]
    parts += ["## Errors\n", *(f"- {line}" for line in failures()), ""]
    return "\n".join(parts)


def entry(name: str, thing: Any) -> Iterator[str]:
    """A name's heading, signature and docstring; of a class its public methods, too."""
    yield f"### `{name}`\n"
    yield f"```python\n{signature(name, thing)}\n```\n"
    yield described(thing)
    if inspect.isclass(thing):
        for method, what in vars(thing).items():
            called = inspect.isfunction(what) or isinstance(what, classmethod)
            if called and not method.startswith("_"):
                bound = getattr(thing, method)
                yield f"```python\n{signature(f'{name}.{method}', bound)}\n```\n"
                yield described(bound)


def signature(name: str, thing: Any) -> str:
    """As it stands in the code, a settings object as `Settings()`, an argument a line."""
    found = inspect.signature(thing)
    lines: list[str] = []
    starred = False
    for parameter in found.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            lines, starred = [*lines, "*"], True
        lines.append(_parameter(parameter))
    returns = found.return_annotation
    end = "" if inspect.isclass(thing) or returns is found.empty else f" -> {returns}"
    short = f"{name}({', '.join(lines)}){end}"
    return short if len(short) <= 96 else f"{name}(\n    " + ",\n    ".join(lines) + f",\n){end}"


def _parameter(parameter: inspect.Parameter) -> str:
    kind = re.sub(r"Annotated\[(\w+), .*\]", r"\1", str(parameter.annotation))
    if parameter.default is parameter.empty:
        return f"{parameter.name}: {kind}"
    default = parameter.default
    shown = f"{type(default).__name__}()" if isinstance(default, BaseModel) else repr(default)
    shown = shown.replace("PosixPath(", "Path(")
    return f"{parameter.name}: {kind} = {shown}"


def described(thing: Any) -> str:
    """A docstring in Markdown: its sections as lists."""
    lines, inside = [], False
    for line in (inspect.getdoc(thing) or "").splitlines():
        if section := re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields):", line):
            inside = section[1] not in {"Returns", "Yields"}
            lines.append(f"**{section[1]}**\n")
        elif inside and re.match(r" {4}\S", line):
            name, _, rest = line.strip().partition(":")
            lines.append(f"- `{name}`:{rest}")
        else:
            lines.append(f"  {line.strip()}".rstrip() if inside else line.strip())
    return "\n".join(lines) + "\n"


def failures() -> list[str]:
    """Every error that is raised on purpose, with its sentence."""
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]
    return [
        f"`sonobalance.errors.{kind.__name__}`: {(inspect.getdoc(kind) or '').splitlines()[0]}"
        for kind in kinds
        if issubclass(kind, errors.SonobalanceError)
    ]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    TARGET.write_text(reference(), encoding="utf-8")
    print(TARGET)
