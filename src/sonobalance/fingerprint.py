"""What a stage's result depends on, and in which words two such fingerprints differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from sonobalance.config import Settings
from sonobalance.errors import InputError
from sonobalance.files import tree_digest
from sonobalance.gan.places import find_snapshot

if TYPE_CHECKING:
    from sonobalance.chain import Digests
    from sonobalance.runs import Run, Stage

SOURCE, LEFT_OUT = "@source", "@left-out"  # in what a stage reads
# where, and how much at once, not what
PLACES = frozenset((
    "gan.devices", "gan.nodes", "classifier.devices", "audit.workers", "explanation.batch_size",
))  # fmt: skip
LEFT_OUT_FILES = "the list of files left out"  # not known to earlier versions


def fingerprint_of(run: Run, stage: Stage, digest: Digests) -> dict[str, Any]:
    """The settings that count for a stage, and SHA-256 of all that it reads.

    Raises:
        InputError: a file that it reads is missing.
    """
    from sonobalance.data.extent import source_digest  # noqa: PLC0415 - readers are heavy

    inputs: dict[str, str] = {}
    for item in stage.reads:
        name, optional = item.removesuffix("?"), item.endswith("?")
        if item == SOURCE:
            inputs[str(run.source)] = source_digest(run.source, run.settings.data)
        elif item == LEFT_OUT:
            inputs[LEFT_OUT_FILES] = digest_of_content(run.record["skipped"])
        elif found := digest(name):
            inputs[name] = found
        elif not optional:
            raise InputError(
                f"Expected {run.path(name)} before {stage.name}, but it is missing; "
                f"run the earlier stages on {run.folder} first."
            )
    chosen = settings_of(stage, run.settings)
    files = {name: value for name, value in chosen.items() if isinstance(value, Path)}
    for name, value in files.items():
        inputs[f"the file of {name}"] = digest_of_setting(name, value)
    return {"settings": plain(chosen), "inputs": inputs}


def settings_of(stage: Stage, settings: Settings) -> dict[str, Any]:
    """Dotted name → value of every setting that a stage's result depends on."""
    dump = settings.model_dump()
    names = ("seed", *stage.settings) if stage.random else stage.settings
    chosen = flat({name: _lookup(dump, name) for name in names})
    return {name: value for name, value in chosen.items() if name not in PLACES}


def digest_of_setting(name: str, path: Path) -> str:
    """Of the file or folder that a setting names; of a GAN, which may be a whole run, its weights.

    Raises:
        InputError: there is no such file.
    """
    return tree_digest(find_snapshot(path) if name == "gan.init" else path)


def digest_of_content(content: Any) -> str:
    """SHA-256 of anything that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _lookup(tree: Mapping[str, Any], dotted: str) -> Any:
    value: Any = tree
    for part in dotted.split("."):
        value = value[part]
    return value


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted names."""
    out: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        out |= flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return out


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values as they come back from JSON."""
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def only_longer(
    stage: Stage, old: dict[str, Any], new: dict[str, Any], changed: Iterable[str]
) -> bool:
    """Whether nothing changed but that the stage is to work longer than before."""
    before, after = old["settings"], new["settings"]
    return all(name in stage.longer and after[name] > before[name] for name in changed)


def _is_file(name: str, *fingerprints: dict[str, Any]) -> bool:
    """Whether a setting names a file in all of them: what is in it counts, wherever it lies."""
    return all(f"the file of {name}" in fingerprint["inputs"] for fingerprint in fingerprints)


def _tables() -> tuple[str, ...]:
    """Starts of the names of values in tables whose keys are the user's: `synthesis.counts.`."""
    sections = [(f"{name}.", part) for name, part in Settings() if isinstance(part, BaseModel)]
    return tuple(
        f"{start}{name}." for start, part in sections for name, value in part
        if isinstance(value, Mapping)
    )  # fmt: skip


def changes_of(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, str]:
    """What differs between two fingerprints → the same in words; empty when nothing does."""
    if not old:
        return {}
    # a setting that came later was at what is its default now
    before, after = plain(flat(Settings().model_dump())) | old["settings"], new["settings"]
    gone = {name for name in before.keys() - after.keys() if name.startswith(_tables())}
    words = {
        name: f"The setting {name} changed from {before.get(name)!r} to {after.get(name)!r}"
        for name in sorted((after.keys() | gone) - PLACES)
        if before.get(name) != after.get(name) and not _is_file(name, old, new)
    }
    before, after = old["inputs"], new["inputs"]
    return words | {
        name: f"What is in {name} changed"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and (name != LEFT_OUT_FILES or name in before)
    }
