"""The command that repeats a benchmark, as one line."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any

from sonobalance.comparison.protocol import Protocol
from sonobalance.config import Preset, Settings
from sonobalance.layers import resolve, valid_names
from sonobalance.runs import Run

SET_ELSEWHERE = ("arms", "split.folds", "split.repeats", "split.subset_csv", "classifier.weights")


def command_of(base: Run, protocol: Protocol, preset: Preset | None, arms: Sequence[str]) -> str:
    """What to type to get the same numbers; files by their names alone."""
    settings, default = base.settings, Protocol()
    words = ["sonobalance", "benchmark", base.source.name, "--out", "OUT"]
    words += ["--folds", str(protocol.folds), "--seeds", str(protocol.seeds)]
    for arm in dict.fromkeys(arms):
        words += ["--arms", arm]
    if preset:
        words += ["--preset", preset]
    files = {
        "--weights": settings.classifier.weights,
        "--subset": settings.split.subset_csv,
        "--external": protocol.external,
    }
    for flag, path in files.items():
        words += [flag, path.name] if path else []
    if protocol.scarce != default.scarce:
        words += ["--scarce", str(protocol.scarce), "--scarce-class", protocol.scarce_class]
    return shlex.join([*words, *_changed(settings, resolve(preset))])


def _changed(settings: Settings, usual: Settings) -> list[str]:
    """Flags of every other setting that differs from the preset's or the default."""
    words = []
    for name in valid_names():
        value, before = (attrgetter(name)(some) for some in (settings, usual))
        if value != before and name not in SET_ELSEWHERE:
            words += _flag(name.replace("_", "-"), value)
    return words


def _flag(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        section, _, leaf = name.rpartition(".")
        return [f"--{name}" if value else f"--{section}.no-{leaf}" if section else f"--no-{leaf}"]
    if isinstance(value, tuple):
        return [word for item in value for word in (f"--{name}", str(item))]
    if isinstance(value, dict):
        return [f"--{name}", json.dumps(value, ensure_ascii=False)]
    return [f"--{name}", value.name if isinstance(value, Path) else str(value)]
