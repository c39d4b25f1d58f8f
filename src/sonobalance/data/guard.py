"""Promise P1 in code: inside `reading_only`, opening any other image raises.

Every image and mask of the package is opened through `data.images`, which asks `check_allowed`
first. A stage that must not see validation or test images wraps its work in `reading_only`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from sonobalance.data.manifest import Manifest
from sonobalance.errors import LeakError

EVERY_FRAME = -1
_guards: ContextVar[tuple[Mapping[Path, set[int]], ...]] = ContextVar("guards", default=())


@contextmanager
def reading_only(*manifests: Manifest, folders: Iterable[Path] = ()) -> Iterator[None]:
    """Allow only the images and masks of these manifests, and files below `folders`, to be opened.

    Of a file that holds several images (a clip, an archive) only the frames in the manifests are
    allowed. Nested guards intersect: an inner guard can never widen an outer one.
    """
    frames: dict[Path, set[int]] = defaultdict(set)
    for manifest in manifests:
        for record in manifest:
            frames[manifest.file(record).absolute()].add(record.frame)
            for mask in manifest.mask_files(record):
                frames[mask.absolute()].add(EVERY_FRAME)
    for folder in folders:
        for path in folder.rglob("*"):
            frames[path.absolute()].add(EVERY_FRAME)
    token = _guards.set((*_guards.get(), dict(frames)))
    try:
        yield
    finally:
        _guards.reset(token)


def check_allowed(path: Path, frame: int | None = None) -> None:
    """Raise `LeakError` when a guard is active and this frame is not among those it allows.

    Args:
        path: the file to be opened.
        frame: the image inside the file, or None when only its header is read.
    """
    for guard in _guards.get():
        allowed = guard.get(path.absolute())
        if allowed is None or (frame is not None and not allowed & {frame, EVERY_FRAME}):
            raise LeakError(f"Expected only training images to be opened here, but got {path}.")
