"""What helps around a run: public data sets and a check of the installation."""

from __future__ import annotations

from pathlib import Path


def fetch(name: str, *, out: Path, url: str = "") -> Path:
    """Download a public data set after showing its licence and citation.

    Resumes, verifies and unpacks safely; the folder it returns can be given to `run`.

    Args:
        name: busi, bus-bra, bus-uclm or breastmnist.
        out: folder for the data sets.
        url: another address of the same archive, such as a mirror of your institution.

    Raises:
        InputError: the name is unknown, or the download or the archive is not what it should be.
    """
    from sonobalance.data import fetch as fetching
    from sonobalance.data.catalogue import notice
    from sonobalance.progress import console

    console.print(notice(name))
    return fetching.fetch(name, out, url=url)


def doctor(*, out: Path = Path()) -> int:
    """Say what is installed, which device will be used, and what is wrong.

    Args:
        out: where runs would be written.

    Returns:
        0 when nothing is wrong, 1 otherwise.
    """
    from sonobalance.diagnosis import diagnose

    return diagnose(out)
