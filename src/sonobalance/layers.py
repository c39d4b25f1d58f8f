"""Layers of settings: base or defaults < preset < TOML file < explicitly given values."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from sonobalance.config import PRESETS, Preset, Section, Settings
from sonobalance.errors import InputError, SettingsError


def resolve(
    preset: Preset | None = None,
    config: Path | None = None,
    given: Settings | None = None,
    base: Settings | None = None,
) -> Settings:
    """Merge the layers: `base` (or the defaults) < preset < TOML file < explicitly given values.

    Relative paths are those of the working directory; the result holds absolute ones.

    Raises:
        SettingsError: an unknown name or a value out of range, with the nearest valid name.
        InputError: the TOML file is missing or malformed.
    """
    merged: dict[str, Any] = base.model_dump(exclude_unset=True) if base else {}
    for layer in (
        PRESETS[preset] if preset else {},
        read_toml(config) if config else {},
        given.model_dump(exclude_unset=True) if given else {},
    ):
        merged = _merge(merged, layer)
    found = parse(merged).model_dump(exclude_unset=True)
    return parse(with_paths(found, Path.absolute))  # they mean the same to whoever goes on


def parse(values: Mapping[str, Any]) -> Settings:
    """Validate a nested mapping of settings.

    Raises:
        SettingsError: an unknown name or a value out of range, with the nearest valid name.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError(validation_sentence(error)) from None


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML settings file.

    Raises:
        InputError: the file is missing or malformed.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"Expected a settings file at {path}, but there is none.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"Expected TOML in {path}, but {error}.") from None


def valid_names() -> list[str]:
    """Every dotted setting name, such as `gan.alpha`."""
    names = []
    for name, field in Settings.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            names += [f"{name}.{inner}" for inner in kind.model_fields]
        else:
            names.append(name)
    return names


def _merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """Setting by setting; one that is a table itself replaces the whole table below it."""
    out = dict(low)
    for key, value in high.items():
        both = isinstance(value, Mapping) and isinstance(out.get(key), Mapping)
        out[key] = {**out[key], **value} if both else value
    return out


def with_paths(value: Any, change: Callable[[Path], Any]) -> Any:
    """Settings as a nested mapping, with each path changed."""
    if isinstance(value, dict):
        return {key: with_paths(inner, change) for key, inner in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return change(value) if isinstance(value, Path) else value


def validation_sentence(error: ValidationError) -> str:
    """One sentence for the first thing that pydantic refused."""
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        near = nearest_name(name)
        return f"There is no setting {name!r}" + (f"; did you mean {near!r}?" if near else ".")
    if isinstance(first["input"], Section | dict) and first["type"] == "value_error":
        of = f" of {name!r}" if name else ""
        return f"Expected settings{of} that fit together, but {first['ctx']['error']}."
    return f"Expected a valid value for {name!r}: {first['msg']}, but got {first['input']!r}."


def nearest_name(given: str) -> str | None:
    """The valid setting name most like `given`: within its section when that exists."""
    given = given.replace("-", "_")
    section, _, leaf = given.rpartition(".")
    names = [name for name in valid_names() if name.rpartition(".")[0] == section] or valid_names()
    score = {name: SequenceMatcher(None, leaf, name.rpartition(".")[2]).ratio() for name in names}
    best = max(names, key=lambda name: score[name])
    return best if score[best] >= 0.25 else None
