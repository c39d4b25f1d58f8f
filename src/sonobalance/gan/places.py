"""Where a finished GAN lies; light, for whoever only wants to know which file it is."""

from __future__ import annotations

from pathlib import Path

from sonobalance.errors import InputError
from sonobalance.files import read_json

SNAPSHOT, REPORT = "snapshot.safetensors", "gan.json"


def find_snapshot(given: Path) -> Path:
    """The snapshot in a file, a GAN folder or a run folder.

    Raises:
        InputError: there is none.
    """
    for path in (given, given / SNAPSHOT, given / "gan" / SNAPSHOT):
        if path.is_file():
            return path
    raise InputError(
        f"Expected `gan.init` to be a GAN snapshot, or a folder with one, but {given} holds none."
    )


def folder_of(init: Path) -> Path:
    """The GAN folder of what `gan.init` names; its `trained_on.txt` says what that GAN has seen."""
    return find_snapshot(init).parent


def why_none(run: Path) -> str:
    """Why a run folder has no synthetic images, and what to do: the end of a sentence."""
    report = run / "gan" / REPORT
    if not report.is_file() or (run / "gan" / SNAPSHOT).is_file():
        return "`synthesize` makes them (in a run, where one of the arms trains with them)."
    return (
        f"its generator is of no use. {read_json(report)['stop']} Train it again with more "
        "`gan.autoencoder_kimg` or more images."
    )
