"""The style sheet that every page of the tool shares."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def stylesheet() -> str:
    """The CSS text to stand inside a page's `<style>` element; it names no outside resource."""
    return files("sonobalance.reporting").joinpath("style.css").read_text(encoding="utf-8")
