"""`memorisation.html`: the pairs nearest to being copies, side by side, in one offline page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sonobalance.data.images import read_gray
from sonobalance.files import write_text
from sonobalance.reporting.formatting import filters
from sonobalance.reporting.pictures import Picture, embed, fit
from sonobalance.reporting.style import stylesheet
from sonobalance.version import __version__

PAGE = "memorisation.html"
THUMBNAIL_PX = 240


def write_memorisation_page(
    document: Mapping[str, Any], synthetic: Path, real: Path, folder: Path
) -> Path:
    """Write the page of an audit.

    Args:
        document: content of `memorisation.json`.
        synthetic: folder of the synthetic images.
        real: folder of the real images.
        folder: where the page is written.

    Returns:
        Its path.
    """
    environment = Environment(
        loader=PackageLoader("sonobalance", "reporting"), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(filters())
    page = environment.get_template("memorisation.html.j2").render(
        version=__version__, style=stylesheet(), document=document,
        pairs=[_pair(row, synthetic, real) for row in document["closest"]],
    )  # fmt: skip
    write_text(folder / PAGE, page)
    return folder / PAGE


def _pair(row: Mapping[str, Any], synthetic: Path, real: Path) -> dict[str, Any]:
    return {
        "row": row,
        "shots": [
            _picture(synthetic / row["file"], f"Synthetic image {row['file']}", row["file"]),
            _picture(real / row["nearest"], f"Real image {row['nearest']}", row["nearest"]),
        ],
    }


def _picture(path: Path, alt: str, caption: str) -> Picture:
    return embed(fit(read_gray(path), THUMBNAIL_PX), alt, caption)
