"""What a stage's result depends on, and in which words two such fingerprints differ."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sonobalance.config import Settings
from sonobalance.files import tree_digest
from sonobalance.gan.places import find_snapshot

if TYPE_CHECKING:
    from sonobalance.runs import Stage

# where, and how much at once, not what
PLACES = frozenset((
    "gan.devices", "gan.nodes", "classifier.devices", "audit.workers", "explanation.batch_size",
))  # fmt: skip
LEFT_OUT_FILES = "the list of files left out"  # not known to earlier versions


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


def changes_of(old: dict[str, Any] | None, new: dict[str, Any]) -> dict[str, str]:
    """What differs between two fingerprints → the same in words; empty when nothing does."""
    if not old:
        return {}
    # a setting that came later was at what is its default now
    before, after = plain(flat(Settings().model_dump())) | old["settings"], new["settings"]
    words = {
        name: f"The setting {name} changed from {before.get(name)!r} to {after.get(name)!r}"
        for name in sorted(after.keys() - PLACES)
        if before.get(name) != after.get(name) and not _is_file(name, old, new)
    }
    before, after = old["inputs"], new["inputs"]
    return words | {
        name: f"What is in {name} changed"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name) and (name != LEFT_OUT_FILES or name in before)
    }
