"""Write docs/settings.md from the settings themselves, so that the page cannot be out of date."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from sonobalance.config import PRESETS, Section, ServiceSettings, Settings

TARGET = Path(__file__).parent / "settings.md"
HEAD = """# Settings

Made by `make docs` from `src/sonobalance/config/`; do not edit.

Layers: default < preset (`--preset demo|cpu|gpu|gpu256`) < TOML file (`--config FILE`) < command
line (`--section.name value`; general and service settings have no section). A switch is turned off
by `no-` before its name (`--gan.no-feature-branch`), a list is given by its flag
once per item (`--arms` takes several values), a table by its key
(`--evaluation.external-classes.normal benign`); `none` takes away a file or name that the run has
(`--gan.init none`). Unknown names and values out of range are refused
with the nearest valid name. The resolved settings of a run stand in its `run.json`.

```toml
# mine.toml, for `sonobalance run FOLDER --out runs/mine --preset cpu --config mine.toml`
arms = ["none", "over-sampling", "dual-iterative"]

[data]
patient_pattern = '([^/]+)_\\d+\\.png$'

[classifier]
weights = "mobilenetv2_100.safetensors"  # from the working directory
```
"""


def reference() -> str:
    """The whole page."""
    fields = Settings.model_fields
    plain = {name: field for name, field in fields.items() if not _is_section(field.annotation)}
    parts = [HEAD, _table("General", "", plain)]
    for name, field in fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Section):
            parts.append(_table(f"{name}: {kind.__doc__}", f"{name}.", kind.model_fields))
    parts.append(_table(f"service: {ServiceSettings.__doc__}", "", ServiceSettings.model_fields))
    parts.append("## Presets\n\n```json\n" + json.dumps(PRESETS, indent=2) + "\n```\n")
    return "\n".join(parts)


def _is_section(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _table(title: str, prefix: str, fields: dict) -> str:
    rows = [f"## {title}", "", "| name | default | range | meaning |", "|---|---|---|---|"]
    for name, field in fields.items():
        default = "" if field.default is PydanticUndefined else f"`{field.default!r}`"
        rows.append(
            f"| `{prefix}{name}` | {default} | {_range(field)} | {_cell(field.description or '')} |"
        )
    return "\n".join([*rows, ""])


SIGNS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "min_length": "length ≥"}


def _range(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(limit, name)}"
        for name, sign in SIGNS.items()
        for limit in getattr(field, "metadata", [])
        if hasattr(limit, name)
    ]
    choices = getattr(field.annotation, "__args__", ()) if not limits else ()
    words = [repr(choice) for choice in choices if isinstance(choice, str | int)]
    return _cell(", ".join(limits or words))


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    TARGET.write_text(reference(), encoding="utf-8")
    print(TARGET)
