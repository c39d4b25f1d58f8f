"""What can be done with synthetic images: judge, remake, sample, hand on."""

from __future__ import annotations

from pathlib import Path


def memorisation(synthetic: Path, *, real: Path, out: Path, seed: int = 0) -> Path:
    """Find copies of real images among synthetic ones, ours or not.

    Writes `memorisation.csv` (file, nearest, distance, ratio, copy), `neighbours.csv`,
    `memorisation.json` with the verdict and its false-alarm rate, and `memorisation.html` with the
    ten closest pairs.

    Args:
        synthetic: folder of synthetic images, with or without class folders; masks are ignored.
        real: folder of the real images that the generator was trained with.
        out: folder for the results.
        seed: of the altered copies by which the threshold is set.

    Raises:
        InputError: a folder is missing or holds no readable image.
    """
    from sonobalance.reporting.memorisation_page import write_memorisation_page
    from sonobalance.synthesis.memorisation import audit_memorisation

    document = audit_memorisation(synthetic, real, out, seed=seed)
    page = write_memorisation_page(document, synthetic, real, out)
    print(document["verdict"])
    return page
