"""Numbers in words: one way of writing values, intervals, shares, sizes and durations."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

ABSENT = "–"
MINUS = "\N{MINUS SIGN}"


def finite(value: Any) -> float | None:
    """The value as a finite float, or None where it is missing, text or not a number."""
    if isinstance(value, bool) or value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def number(value: Any, digits: int = 3) -> str:
    """A fixed number of decimals with a true minus sign; a dash where there is no value."""
    given = finite(value)
    if given is None:
        return ABSENT
    text = f"{abs(given):.{digits}f}"
    return MINUS + text if given < 0 and float(text) else text


def signed(value: Any) -> str:
    """A difference: as `number`, with a plus sign where it is positive."""
    given = finite(value)
    text = number(value)
    return f"+{text}" if given is not None and given > 0 and float(text) else text


def compact(value: Any) -> str:
    """Three significant digits, whatever the magnitude."""
    given = finite(value)
    if given is None:
        return ABSENT
    if given == 0 or 1e-3 <= abs(given) < 1e5:
        decimals = 0 if given == 0 else max(0, 2 - math.floor(math.log10(abs(given))))
        return number(given, decimals)
    return f"{given:.2e}".replace("-", MINUS)


def count(value: Any) -> str:
    """A whole number with thin spaces between thousands."""
    given = finite(value)
    if given is None:
        return ABSENT
    return f"{round(given):,}".replace(",", "\N{NARROW NO-BREAK SPACE}").replace("-", MINUS)


def percent(value: Any, digits: int = 0) -> str:
    """A share in [0, 1] as a percentage."""
    given = finite(value)
    return ABSENT if given is None else f"{100 * given:.{digits}f} %"


def level(value: Any) -> str:
    """A level that was asked for, such as of confidence, as a percentage with all its digits."""
    given = finite(value)
    return ABSENT if given is None else f"{100 * given:.4g} %"


def interval(low: Any, high: Any, digits: int = 3) -> str:
    """`0.712 to 0.803`, or nothing where either end is missing."""
    if finite(low) is None or finite(high) is None:
        return ""
    return f"{number(low, digits)} to {number(high, digits)}"


def duration(seconds: Any) -> str:
    """Seconds as `42 s`, `3 min 05 s` or `1 h 12 min`."""
    given = finite(seconds)
    if given is None:
        return ABSENT
    if given < 60:
        return f"{given:.1f} s" if given < 10 else f"{given:.0f} s"
    minutes, rest = divmod(round(given), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def date(stamp: Any) -> str:
    """An ISO 8601 time stamp as `1 March 2026, 10:41 UTC`; unreadable text stays as it is."""
    try:
        moment = datetime.fromisoformat(str(stamp))
    except ValueError:
        return str(stamp)
    zone = " UTC" if moment.utcoffset() == timedelta(0) else ""
    return f"{moment.day} {moment:%B %Y, %H:%M}{zone}"


def plural(n: Any, one: str, many: str | None = None) -> str:
    """`1 image`, `12 images`."""
    given = finite(n)
    return f"{count(n)} {one if given == 1 else many or one + 's'}"


METRIC_NAMES = {
    "accuracy": "Accuracy", "balanced_accuracy": "Balanced accuracy", "macro_f1": "Macro-F1",
    "auc": "AUC", "macro_auc": "AUC (macro)", "ece": "ECE",
    "brier": "Brier score", "log_loss": "Log loss",
    "pointing_game": "Pointing game", "energy_ratio": "Energy ratio", "iou": "IoU",
    "energy": "Evidence inside lesion", "below": "In the band below",
    "border": "On the border", "deletion_blur": "Deletion (blur)",
    "deletion_local_mean": "Deletion (local mean)", "insertion_blur": "Insertion (blur)",
    "insertion_local_mean": "Insertion (local mean)", "deletion_road": "Deletion (ROAD)",
    "insertion_road": "Insertion (ROAD)", "marks": "On burnt-in marks",
}  # fmt: skip
OF_A_CLASS = {"auc", "precision", "recall", "specificity"}  # NAME_CLASS
LOWER_IS_BETTER = {"ece", "brier", "log_loss"}
CLEAR = ("better", "worse")  # verdicts of a paired difference, but for `no clear difference`


def metric_name(key: str) -> str:
    """The reader's name of a metric key; a class suffix as in `recall_benign` is kept."""
    if key in METRIC_NAMES:
        return METRIC_NAMES[key]
    kind, _, name = key.partition("_")
    if kind in OF_A_CLASS and name:
        return f"{kind.capitalize()} {name}"
    return key.replace("_", " ").replace("/", ": ").capitalize()


def lower_is_better(key: str) -> bool:
    """Whether a smaller value of this metric is the better one."""
    return key in LOWER_IS_BETTER


def filters() -> Mapping[str, Any]:
    """The template filters of this file, by name."""
    functions = (
        number, signed, compact, count, percent, level, interval, duration, date, plural,
        metric_name,
    )  # fmt: skip
    return {function.__name__: function for function in functions}
