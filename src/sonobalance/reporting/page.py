"""What every page has in common: escaping, filters, the style, the version."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from sonobalance.reporting.formatting import filters
from sonobalance.reporting.style import stylesheet
from sonobalance.version import __version__


def render_page(template: str, *, package: str = "reporting", **values: Any) -> str:
    """One self-contained page as HTML text; equal values give equal text.

    Args:
        template: file name inside the package `sonobalance.PACKAGE`.
        package: where it stands.
        values: what the template names, besides `style`, `version` and the filters.
    """
    environment = Environment(
        loader=PackageLoader("sonobalance", package), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(filters())
    page = environment.get_template(template)
    return page.render(style=stylesheet(), version=__version__, **values)
