"""Is a bundle what it was when it was made? Every byte, and the golden sample."""

from __future__ import annotations

from pathlib import Path

from sonobalance.deployment.archive import read_files
from sonobalance.deployment.golden import check_golden
from sonobalance.deployment.predictor import BundlePredictor


def load_verified(path: Path) -> tuple[BundlePredictor, float]:
    """A bundle that repeats its golden sample, and the largest difference of a probability.

    Raises:
        InputError: anything is not as it was written, or the answers differ.
    """
    files = read_files(path)
    predictor = BundlePredictor.of_files(files, path)
    return predictor, check_golden(predictor, files, path)
