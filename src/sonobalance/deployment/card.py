"""The model card: the description of a bundle as a page for people."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from sonobalance.deployment.description import Description

LOADER = PackageLoader("sonobalance", "deployment")


def model_card(description: Description) -> str:
    """The card in Markdown."""
    environment = Environment(loader=LOADER, undefined=StrictUndefined)  # noqa: S701 - no HTML
    return environment.get_template("card.md.j2").render(d=description)
