"""How many images each class should have in the end."""

from __future__ import annotations

from collections.abc import Mapping

from sonobalance.config import SynthesisSettings
from sonobalance.errors import SettingsError


def target_counts(present: Mapping[str, int], settings: SynthesisSettings) -> dict[str, int]:
    """Images per class, real and synthetic together, that the settings ask for.

    Args:
        present: class → real TRAIN images, each at least 1.
        settings: `target` and the setting it refers to.

    Returns:
        class → images, never fewer than present; classes that no count names stay as they are.

    Raises:
        SettingsError: a count is below the images present or names no class.
    """
    largest = max(present.values())
    if settings.target == "counts":
        _check_counts(present, settings.counts)
        return {name: settings.counts.get(name, n) for name, n in present.items()}
    share = settings.ratio if settings.target == "ratio" else 1.0
    return {name: max(n, round(share * largest)) for name, n in present.items()}


def _check_counts(present: Mapping[str, int], counts: Mapping[str, int]) -> None:
    if not counts:
        raise SettingsError(
            "Expected `synthesis.counts` to name classes for target=counts, but it is empty."
        )
    for name, wanted in counts.items():
        if name not in present:
            raise SettingsError(
                f"Expected `synthesis.counts` to name classes of {', '.join(present)}, "
                f"but got {name!r}."
            )
        if wanted < present[name]:
            raise SettingsError(
                "Expected `synthesis.counts` to be counts ≥ the present ones, "
                f"but got {name}={wanted} < {present[name]}."
            )
