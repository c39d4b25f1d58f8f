"""Where a trained classifier lies; light, for whoever only wants to know which file it is."""

from __future__ import annotations

from pathlib import Path

PAGE, WEIGHTS = "model.json", "weights.safetensors"


def weights_file(folder: Path) -> Path:
    """The weights of a trained classifier's folder."""
    return folder / WEIGHTS


def page_file(folder: Path) -> Path:
    """What they are and how they were made."""
    return folder / PAGE
