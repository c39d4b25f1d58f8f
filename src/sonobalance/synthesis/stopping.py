"""When the loop ends: the first rule that holds, as a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sonobalance.config import SynthesisSettings
from sonobalance.synthesis.ledger import RoundRecord


def stop_reason(
    records: Sequence[RoundRecord], deficits: Mapping[str, int], settings: SynthesisSettings
) -> str | None:
    """Why no further round is made, or None when one should be.

    Args:
        records: the finished rounds, round 0 first.
        deficits: class → images still missing.
        settings: see `SynthesisSettings`.
    """
    if not any(deficits.values()):
        return "balanced: every class has the images asked for."
    if len(records) == 1:
        return None
    last = records[-1].row
    return (
        _collapse(last, settings)
        or _acceptance(last, settings)
        or _coverage([r.row for r in records[1:]], settings)
        or _no_gain(records, settings)
        or _budget(records, settings)
    )


def _of(row: Mapping[str, Any], name: str) -> dict[str, float]:
    """Class → value of the columns `<name>_<class>`."""
    prefix = f"{name}_"
    return {key.removeprefix(prefix): v for key, v in row.items() if key.startswith(prefix)}


def _collapse(row: Mapping[str, Any], settings: SynthesisSettings) -> str | None:
    for label, share in _of(row, "twins").items():
        if share > settings.collapse_share:
            return (
                f"collapse: {share:.0%} of the {label} candidates of round {row['round']} are "
                f"twins of another one (limit {settings.collapse_share:.0%})."
            )
    return None


def _acceptance(row: Mapping[str, Any], settings: SynthesisSettings) -> str | None:
    if row["acceptance"] >= settings.min_acceptance:
        return None
    return (
        f"acceptance below floor: {row['acceptance']:.1%} of the candidates of round "
        f"{row['round']} passed every gate (floor {settings.min_acceptance:.1%})."
    )


def _coverage(rows: Sequence[Mapping[str, Any]], settings: SynthesisSettings) -> str | None:
    """Fell for every class that was asked for in this round."""
    last = _of(rows[-1], "coverage")
    best = {k: max(_of(row, "coverage").get(k, 0.0) for row in rows) for k in last}
    keep = 1 - settings.coverage_fall
    if last and all(value < keep * best[k] for k, value in last.items()):
        return (
            f"coverage falling: round {rows[-1]['round']} covers at least "
            f"{settings.coverage_fall:.0%} less of the real images than the best round."
        )
    return None


def _no_gain(records: Sequence[RoundRecord], settings: SynthesisSettings) -> str | None:
    best, since = -1.0, 0
    for record in records:
        gained = record.row["macro_f1"] >= best + settings.min_gain
        since = 0 if gained else since + 1
        best = record.row["macro_f1"] if gained else best
    if since < settings.patience_rounds:
        return None
    return f"no gain: the inner macro-F1 has not risen by {settings.min_gain:g} for {since} rounds."


def _budget(records: Sequence[RoundRecord], settings: SynthesisSettings) -> str | None:
    made = sum(len(r.candidates) for r in records)
    if records[-1].number >= settings.rounds:
        return f"budget: all {settings.rounds} rounds were used."
    if made >= settings.max_candidates:
        return f"budget: {made} candidates were made (limit {settings.max_candidates})."
    return None
