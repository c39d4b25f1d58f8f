"""Predictions of many files: decoded ahead in threads, predicted in batches, one row per frame.

Of an archive (`.npz`) every image is a frame of its own; of a clip some frames stand for it.

A file that cannot be read becomes a row that says why, and never stops the rest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sonobalance.classify.colour import with_colour
from sonobalance.data.folders import is_mask
from sonobalance.data.images import image_shape, letterbox, read_gray
from sonobalance.data.medmnist import is_archive
from sonobalance.data.scan import files_below, may_hold_images, printable
from sonobalance.data.verify import spread
from sonobalance.deployment.answers import Answer
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.errors import InputError, SonobalanceError
from sonobalance.heap import large_blocks_kept

AHEAD = 4  # batches that may be decoded before they are predicted


@dataclass(frozen=True)
class Frame:
    """One frame of a file, ready for the network, or the reason why there is none."""

    path: str
    index: int = 0
    width: int = 0
    height: int = 0
    square: NDArray[np.uint8] | None = None
    colour: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class Row:
    """One line of the output: a frame and its answer, or its error."""

    frame: Frame
    answer: Answer | None

    def as_json(self) -> dict[str, Any]:
        """The row as JSON values; the keys do not depend on the outcome."""
        frame, answer = self.frame, self.answer
        return {
            "path": frame.path, "frame": frame.index, "width": frame.width, "height": frame.height,
            "predicted": answer.predicted if answer else None,
            "refused": answer.refused if answer else None,
            "conformal": list(answer.conformal) if answer else None,
            "called": list(answer.called) if answer else None,
            "distance": answer.distance if answer else None,
            "probabilities": answer.probabilities if answer else None,
            "error": frame.error or None,
        }  # fmt: skip


def find_files(paths: Sequence[Path]) -> list[Path]:
    """Every file that was named, and every image or archive, but no mask, below a named folder.

    Raises:
        InputError: a path does not exist, or nothing was found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [p for p in files_below(path) if may_hold_images(p) and not is_mask(p, path)]
            if not inside:
                raise InputError(f"Expected images below {path}, but there are none.")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise InputError(f"Expected an image or a folder at {path}, but there is none.")
    return found


def predict_files(
    predictor: BundlePredictor, files: Iterable[Path], *, batch_size: int = 16,
    frames_per_clip: int = 1, workers: int = 2,
) -> Iterator[Row]:  # fmt: skip
    """Rows in the order of the files.

    Args:
        predictor: the bundle.
        files: images in any readable format.
        batch_size: images per forward pass; changes no value beyond rounding.
        frames_per_clip: evenly spaced frames taken of a clip; 1 is the middle one.
        workers: threads that decode.
    """
    page = predictor.description.preprocessing
    read = partial(
        read_frames,
        side=page.image_size_px,
        frames_per_clip=frames_per_clip,
        clean=page.clean_marks,
    )
    frames = _ahead(files, read, workers, AHEAD * batch_size)
    with large_blocks_kept():
        while batch := list(islice(frames, batch_size)):
            squares = [frame.square for frame in batch if frame.square is not None]
            colours = [frame.colour for frame in batch if frame.square is not None]
            answers = iter(predictor.answers(np.stack(squares), colours) if squares else ())
            for frame in batch:
                yield Row(frame, next(answers) if frame.square is not None else None)


def _ahead(
    files: Iterable[Path], read: Callable[..., list[Frame]], workers: int, depth: int
) -> Iterator[Frame]:
    waiting: deque[Future[list[Frame]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for path, frames in _portions(files):
            waiting.append(pool.submit(read, path, frames=frames))
            if len(waiting) >= depth:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _portions(files: Iterable[Path]) -> Iterator[tuple[Path, Sequence[int] | None]]:
    """Each file as a whole, but a readable archive image by image, since it may hold very many."""
    for path in files:
        frames = 0
        with suppress(SonobalanceError):
            frames = image_shape(path).frames if is_archive(path) else 0
        yield from ((path, (i,)) for i in range(frames))
        if not frames:
            yield path, None


def read_frames(
    path: Path, side: int, frames_per_clip: int, *, clean: bool = False,
    frames: Sequence[int] | None = None,
) -> list[Frame]:  # fmt: skip
    """The frames of a file as (side, side) squares; of a broken one, one frame with the reason.

    Args:
        path: the file.
        side: pixels.
        frames_per_clip: how many evenly spaced frames are taken.
        clean: whether burnt-in marks are painted over.
        frames: take these instead.
    """
    try:
        shape = image_shape(path)
        chosen = spread(shape.frames, frames_per_clip) if frames is None else frames
        read = [with_colour(partial(read_gray, path, i), clean=clean) for i in chosen]
        return [
            Frame(printable(str(path)), i, shape.width, shape.height, letterbox(gray, side), colour)
            for i, (gray, colour) in zip(chosen, read, strict=True)
        ]
    except SonobalanceError as error:
        return [Frame(printable(str(path)), error=printable(" ".join(str(error).split())))]
