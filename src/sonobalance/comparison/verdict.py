"""Does synthesis help? One sentence per metric that answers it, whatever the answer is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sonobalance.arms import CHEAP, SYNTHETIC
from sonobalance.comparison.guarded import ELSE, GUARDED
from sonobalance.config import Arm
from sonobalance.reporting.formatting import metric_name, number, signed

ASKED: Arm = "dual-iterative"
CONTROL: Arm = "single"
ONE_SHOT: Arm = "dual-one-shot"


def verdicts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The synthesis arm against the best cheap arm, a single discriminator and a single round.

    And the loop taken at its word (`guarded`) against the arm that it then falls back to.

    The best cheap arm is the one with the highest value on TEST: chosen with hindsight, which
    favours it, so that synthesis is not called better by luck. Asked of macro-F1 and of the recall
    of each class of `rarer`.

    Returns:
        Rows of `paired` with `question`, for the pairs that were trained; empty without them.
    """
    arms = document["arms"]
    asked = next((arm for arm in (ASKED, *reversed(SYNTHETIC)) if arm in arms), None)
    cheap = [arm for arm in CHEAP if arm in arms]
    if asked is None:
        return []
    out = []
    for metric in ("macro_f1", *(f"recall_{name}" for name in rarer(document["protocol"]))):
        best = _best(arms, cheap, metric)
        for question, arm, other in (
            ("best cheap arm", asked, best),
            ("one discriminator", asked, CONTROL),
            ("one round", ASKED, ONE_SHOT),
            ("its guard honoured", GUARDED, ELSE),
        ):
            row = _row(document["paired"], arm, other, metric)
            if row:
                out.append(row | {"question": question, "sentence": _sentence(row, question)})
    return out


def rarer(protocol: Mapping[str, Any]) -> list[str]:
    """The classes with fewer TRAIN images than the most frequent one, the rarest first.

    What the protocol made scarce comes before them, whatever is left of it.
    """
    counts = protocol["train_by_class"]
    scarce = [str(protocol["scarce"]["class"])] if protocol["scarce"] else []
    most = max(counts.values())
    few = sorted((name for name in counts if counts[name] < most), key=lambda name: counts[name])
    return list(dict.fromkeys([*scarce, *few]))


def _best(arms: Mapping[str, Any], names: Sequence[str], metric: str) -> str | None:
    known = [arm for arm in names if arms[arm][metric]["value"] is not None]
    return max(known, key=lambda arm: arms[arm][metric]["value"], default=None)


def _row(
    paired: Sequence[Mapping[str, Any]], arm: str, other: str | None, metric: str
) -> dict[str, Any] | None:
    wanted = (arm, other, metric)
    found = (dict(r) for r in paired if (r["arm"], r["against"], r["metric"]) == wanted)
    return next(found, None)


def _sentence(row: Mapping[str, Any], question: str) -> str:
    said = {
        "better": "beats", "worse": "is worse than", "no clear difference": "was not shown to beat"
    }[row["verdict"]]  # fmt: skip
    numbers = f"{signed(row['difference'])}, {number(row['low'])} to {number(row['high'])}"
    return (
        f"{row['arm']} {said} {row['against']} ({question}) in "
        f"{metric_name(row['metric']).lower()}: {numbers}."
    )
