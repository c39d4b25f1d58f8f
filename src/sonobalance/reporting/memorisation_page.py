"""`memorisation.html`: the pairs nearest to being copies, side by side, in one offline page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sonobalance.data.images import Gray
from sonobalance.files import write_text
from sonobalance.reporting.page import render_page
from sonobalance.reporting.pictures import Picture, embed, fit
from sonobalance.synthesis.image_folders import read_named, root_of

PAGE = "memorisation.html"
THUMBNAIL_PX = 240


def write_memorisation_page(
    document: Mapping[str, Any], synthetic: Path, real: Path, folder: Path
) -> Path:
    """Write the page of an audit.

    Args:
        document: content of `memorisation.json`.
        synthetic: folder of the synthetic images.
        real: the real images, as they were given to the audit.
        folder: where the page is written.

    Returns:
        Its path.
    """
    page = render_page(
        "memorisation.html.j2", document=document,
        pairs=[_pair(row, synthetic, root_of(real)) for row in document["closest"]],
    )  # fmt: skip
    write_text(folder / PAGE, page)
    return folder / PAGE


def _pair(row: Mapping[str, Any], synthetic: Path, real: Path) -> dict[str, Any]:
    return {
        "row": row,
        "shots": [
            _picture(read_named(synthetic, row["file"]), "Synthetic image", row["file"]),
            _picture(read_named(real, row["nearest"]), "Real image", row["nearest"]),
        ],
    }


def _picture(image: Gray, kind: str, name: str) -> Picture:
    return embed(fit(image, THUMBNAIL_PX), f"{kind} {name}", name)
