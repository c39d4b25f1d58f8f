"""What a model was trained on: none of it may test a classifier that was started from it.

Beside the weights lies `trained_on.txt`: the SHA-256 of every real image of TRAIN and, of a
classifier, of VAL, one a line, those of the model it was started from included (promise P1).
`SHA-256#frame` is one image of an archive; without a frame it is the whole file, as frames of a
clip show one patient.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from sonobalance.data import medmnist
from sonobalance.data.manifest import Manifest, Record
from sonobalance.data.relatives import content_key
from sonobalance.errors import InputError, LeakError
from sonobalance.files import write_text

FILE = "trained_on.txt"


def write_ancestry(folder: Path, manifests: Iterable[Manifest], *ancestors: Path | None) -> None:
    """Write `trained_on.txt` of a model trained on these images, building on `ancestors`."""
    lines = {_line(r) for manifest in manifests for r in manifest}
    for ancestor in ancestors:
        lines |= _lines(ancestor) if ancestor else set()
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / FILE, "".join(f"{line}\n" for line in sorted(lines)))


def read_ancestry(folder: Path) -> set[str]:
    """The SHA-256 of every file in `trained_on.txt`, whichever of its images are meant.

    Raises:
        InputError: there is no such file.
    """
    return {line.partition("#")[0] for line in _lines(folder)}


def _line(record: Record) -> str:
    archived = Path(record.path).suffix.lower() == medmnist.SUFFIX
    return content_key(record) if archived else record.sha256


def _lines(folder: Path) -> set[str]:
    path = folder / FILE
    if not path.is_file():
        raise InputError(
            f"Expected {path} to say what that model was trained on, but there is no such file; "
            "name a folder of a run that holds one, such as RUN/classifier/none or RUN/gan."
        )
    return set(path.read_text(encoding="utf-8").split())


def check_ancestry(init: Path, unseen: Iterable[Manifest]) -> None:
    """Raise `LeakError` when an image of VAL or TEST was trained on by `init` or its ancestors.

    Args:
        init: folder of the classifier or GAN to start from.
        unseen: the parts that must be new to it.

    Raises:
        InputError: `init` does not say what it was trained on.
    """
    seen = _lines(init)
    for manifest in unseen:
        for record in manifest:
            if not seen.isdisjoint((record.sha256, _line(record))):
                raise LeakError(
                    f"Expected a start or partner that never saw VAL or TEST, but {init} was "
                    f"trained on {record.id!r}; start from a model of other images."
                )
