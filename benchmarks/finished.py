"""Rows of a result file that calls add to one by one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sonobalance.files import read_json


def rows_of(path: Path, header: dict[str, Any]) -> list[dict[str, Any]]:
    """The finished rows of a file; ends the program where they had another header.

    A part of the header that the file lacks, being older, is taken to be the same.
    """
    found: dict[str, Any] = header | (read_json(path) if path.is_file() else {"rows": []})
    if differing := [key for key, value in header.items() if found[key] != value]:
        sys.exit(f"Expected {path} to have rows of the same {', '.join(differing)}, but they "
                 "differ; name another file with --out, or move this one away.")  # fmt: skip
    rows: list[dict[str, Any]] = found["rows"]
    return rows
