"""The work of `sonobalance predict BUNDLE PATHS`: rows out, progress and a summary on the side."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from sonobalance.deployment.archive import is_bundle
from sonobalance.deployment.batch import find_files, predict_files
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.deployment.table import Layout, Tally, write_rows
from sonobalance.errors import InputError
from sonobalance.files import atomic
from sonobalance.notice import NOTICE
from sonobalance.progress import console, track

SOME_BROKEN = 3  # the exit code


def predict_paths(
    bundle: Path,
    paths: Sequence[Path],
    out: Path | None,
    layout: Layout,
    *,
    frames_per_clip: int,
    batch_size: int,
) -> Path | int:
    """Predict files and folders; returns the exit code, or the table's path when all went well.

    Raises:
        InputError: the bundle cannot be used, a path does not exist, or no file could be read.
    """
    if not is_bundle(bundle):
        raise InputError(
            f"Expected a bundle (folder or .zip) or a run folder at {bundle}, but there is none."
        )
    if not paths or min(frames_per_clip, batch_size) < 1:
        raise InputError(
            "Expected images or folders behind the bundle, and numbers of at least 1: sonobalance "
            "predict BUNDLE PATHS."
        )
    files = find_files(paths)
    predictor = BundlePredictor.load(bundle)
    rows = predict_files(
        predictor, track(files, "predicting", len(files)), batch_size=batch_size,
        frames_per_clip=frames_per_clip,
    )  # fmt: skip
    with _opened(out) as handle:
        tally = write_rows(rows, predictor.classes, handle, layout)
        _check_some(tally)
    console.print(tally.sentence())
    console.print(NOTICE)
    if tally.broken:
        return SOME_BROKEN
    return out or 0


@contextmanager
def _opened(out: Path | None) -> Iterator[IO[str]]:
    if out is None:
        yield sys.stdout
        return
    with atomic(out) as temporary, temporary.open("w", encoding="utf-8") as handle:
        yield handle


def _check_some(tally: Tally) -> None:
    if not tally.answered + tally.refused:
        raise InputError(
            f"Expected images that can be read, but none of the {tally.broken} could be. The "
            f"first: {tally.trouble}"
        )
