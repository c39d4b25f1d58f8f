"""Promise P1 in code: inside `reading_only`, opening any other image raises.

Every image and mask of the package is opened through `data.images`, which asks `check_allowed`
first. A stage that must not see validation or test images wraps its work in `reading_only`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sonobalance.data.manifest import Manifest
from sonobalance.errors import LeakError


@dataclass(frozen=True)
class _Guard:
    """Files, and folders with all that is or will be in them."""

    files: frozenset[Path]
    folders: frozenset[Path]

    def allows(self, path: Path) -> bool:
        return path in self.files or not self.folders.isdisjoint(path.parents)


_guards: list[_Guard] = []  # of the whole process, so that threads are bound too


@contextmanager
def reading_only(*manifests: Manifest, folders: Iterable[Path] = ()) -> Iterator[None]:
    """Allow only the images and masks of these manifests, and files below `folders`, to be opened.

    Nested guards intersect: an inner guard can never widen an outer one.
    """
    files = {m.file(r).absolute() for m in manifests for r in m}
    files |= {path.absolute() for m in manifests for r in m for path in m.mask_files(r)}
    guard = _Guard(frozenset(files), frozenset(folder.absolute() for folder in folders))
    _guards.append(guard)
    try:
        yield
    finally:
        _guards.remove(guard)


def check_allowed(path: Path) -> None:
    """Raise `LeakError` when a guard is active that does not allow `path`."""
    if not all(guard.allows(path.absolute()) for guard in _guards):
        raise LeakError(f"Expected only training images to be opened here, but got {path}.")
