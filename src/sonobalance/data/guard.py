"""Promise P1 in code: inside `reading_only`, opening any other image raises.

Every image and mask of the package is opened through `data.images`, which asks `check_allowed`
first. A stage that must not see validation or test images wraps its work in `reading_only`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from sonobalance.data.manifest import Manifest
from sonobalance.errors import LeakError

_allowed: ContextVar[frozenset[Path] | None] = ContextVar("allowed", default=None)


@contextmanager
def reading_only(*manifests: Manifest, folders: Iterable[Path] = ()) -> Iterator[None]:
    """Allow only the images and masks of these manifests, and files below `folders`, to be opened.

    Nested guards intersect: an inner guard can never widen an outer one.
    """
    files = {m.file(r).absolute() for m in manifests for r in m}
    files |= {path.absolute() for m in manifests for r in m for path in m.mask_files(r)}
    files |= {path.absolute() for folder in folders for path in folder.rglob("*")}
    outer = _allowed.get()
    token = _allowed.set(frozenset(files if outer is None else files & outer))
    try:
        yield
    finally:
        _allowed.reset(token)


def check_allowed(path: Path) -> None:
    """Raise `LeakError` when a guard is active and `path` is not among its files."""
    allowed = _allowed.get()
    if allowed is not None and path.absolute() not in allowed:
        raise LeakError(f"Expected only training images to be opened here, but got {path}.")
