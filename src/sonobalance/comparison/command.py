"""The command that repeats a benchmark, as one line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sonobalance.comparison.protocol import Protocol
from sonobalance.config import Preset, Settings
from sonobalance.fingerprint import flat
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
    now, before = flat(settings.model_dump()), flat(usual.model_dump())
    words = []
    for name, value in now.items():
        if value != before.get(name) and name not in SET_ELSEWHERE:
            words += _flag(name, value)
    return words


def _flag(name: str, value: Any) -> list[str]:
    setting = next(s for s in valid_names() if name == s or name.startswith(f"{s}."))
    flag = "--" + setting.replace("_", "-") + name.removeprefix(setting)  # a key stays as it is
    if isinstance(value, bool):
        section, _, leaf = flag[2:].rpartition(".")
        off = f"--{section}.no-{leaf}" if section else f"--no-{leaf}"
        return [flag if value else off]
    if isinstance(value, tuple):
        return [word for item in value for word in (flag, str(item))]
    return [flag, value.name if isinstance(value, Path) else str(value)]
