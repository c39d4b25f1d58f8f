"""Promise P1 in code: inside `reading_only`, opening any other image raises.

Every image and mask of the package is opened through `data.images`, which asks `check_allowed`
first. A stage that must not see validation or test images wraps its work in `reading_only`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sonobalance.data.manifest import Manifest
from sonobalance.errors import LeakError

EVERY_FRAME = -1


@dataclass(frozen=True)
class _Guard:
    """Frames of files, and folders with all that is or will be in them."""

    frames: Mapping[Path, set[int]]
    folders: frozenset[Path]

    def allows(self, path: Path, frame: int | None) -> bool:
        if not self.folders.isdisjoint(path.parents):
            return True
        allowed = self.frames.get(path)
        return allowed is not None and (frame is None or bool(allowed & {frame, EVERY_FRAME}))


_guards: list[_Guard] = []  # of the whole process, so that threads are bound too


@contextmanager
def reading_only(*manifests: Manifest, folders: Iterable[Path] = ()) -> Iterator[None]:
    """Allow only the images and masks of these manifests, and files below `folders`, to be opened.

    Of a file that holds several images (a clip, an archive) only the frames in the manifests are
    allowed. Nested guards intersect: an inner guard can never widen an outer one.
    """
    frames: dict[Path, set[int]] = defaultdict(set)
    for manifest in manifests:
        for record in manifest:
            frames[_plain(manifest.file(record))].add(record.frame)
            for mask in manifest.mask_files(record):
                frames[_plain(mask)].add(EVERY_FRAME)
    guard = _Guard(dict(frames), frozenset(_plain(folder) for folder in folders))
    _guards.append(guard)
    try:
        yield
    finally:
        _guards.remove(guard)


def check_allowed(path: Path, frame: int | None = None) -> None:
    """Raise `LeakError` when a guard is active and this frame is not among those it allows.

    Args:
        path: the file to be opened.
        frame: the image inside the file, or None when only its header is read.
    """
    if not all(guard.allows(_plain(path), frame) for guard in _guards):
        raise LeakError(f"Expected only training images to be opened here, but got {path}.")


def _plain(path: Path) -> Path:
    """The absolute path without `..`, so that no detour leads out of an allowed folder."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`
