"""What a classifier was trained on: none of it may test a classifier that was started from it.

Beside the weights lies `trained_on.txt`: the SHA-256 of every real image of TRAIN and VAL, one a
line, those of the classifier it was started from included (promise P1).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sonobalance.data.manifest import Manifest
from sonobalance.errors import InputError, LeakError
from sonobalance.files import write_text

FILE = "trained_on.txt"


def write_ancestry(folder: Path, manifests: Iterable[Manifest], *ancestors: Path | None) -> None:
    """Write `trained_on.txt` of a classifier trained on these images, building on `ancestors`."""
    hashes = {r.sha256 for manifest in manifests for r in manifest}
    for ancestor in ancestors:
        hashes |= read_ancestry(ancestor) if ancestor else set()
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FILE, "".join(f"{value}\n" for value in sorted(hashes)))


def read_ancestry(folder: Path) -> set[str]:
    """The hashes in `trained_on.txt`.

    Raises:
        InputError: there is no such file.
    """
    path = folder / FILE
    if not path.is_file():
        raise InputError(
            f"Expected {path} to say what that classifier was trained on, but there is no such "
            "file; name the classifier folder of a run, such as RUN/classifier/none."
        )
    return set(path.read_text(encoding="utf-8").split())


def check_ancestry(init: Path, unseen: Iterable[Manifest]) -> None:
    """Raise `LeakError` when an image of VAL or TEST was trained on by `init` or its ancestors.

    Args:
        init: folder of the classifier to start from.
        unseen: the parts that must be new to it.
    """
    seen = read_ancestry(init)
    for manifest in unseen:
        for record in manifest:
            if record.sha256 in seen:
                raise LeakError(
                    f"Expected a start or partner that never saw VAL or TEST, but {init} was "
                    f"trained on {record.id!r}; start from a classifier of other images."
                )
