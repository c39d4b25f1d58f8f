"""What every chapter of the report is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Section:
    """One chapter: its values stand ready for the template `sections/<key>.html.j2`.

    Attributes:
        key: anchor on the page and name of the template.
        title: heading.
        values: what the template shows; every name it uses is present.
        sources: the files of the run that the chapter was made from, relative to the run folder.
    """

    key: str
    title: str
    values: Mapping[str, Any]
    sources: tuple[str, ...]
