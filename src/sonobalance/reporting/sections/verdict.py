"""The answer in plain words: how good, did synthesis help, what to worry about first."""

from __future__ import annotations

from typing import Any

from sonobalance.arms import REFERENCES, TREATMENTS
from sonobalance.reporting.artefacts import RunFiles, as_dict, as_list
from sonobalance.reporting.formatting import CLEAR, interval, metric_name, signed
from sonobalance.reporting.section import Section
from sonobalance.reporting.sections.explanations import BALANCED
from sonobalance.reporting.sections.worries import worries

HEADLINE = ("balanced_accuracy", "macro_f1", "macro_auc")
DECIDING = "balanced_accuracy"
BASELINE = "none"
SHOWN_WORRIES = 8
FEW_GROUPS = 10


def verdict(run: RunFiles) -> Section:
    """Headline metrics with intervals, the effect of synthesis, the first worries."""
    arms = as_dict(run.evaluation.get("arms"))
    arm, how = shown_arm(run, arms)
    scores, baseline = as_dict(arms.get(arm)), as_dict(arms.get(BASELINE))
    values = {
        "present": bool(arms),
        "leaky": run.leaky,
        "arm": arm,
        "arm_sentence": arm_sentence(arm),
        "how_chosen": how,
        "few": _few_groups(run),
        "n": run.evaluation.get("n"),
        "groups": run.evaluation.get("groups"),
        "tiles": [
            (metric_name(m), as_dict(scores.get(m)), as_dict(baseline.get(m)))
            for m in HEADLINE
            if m in scores
        ],
        "beside_baseline": arm != BASELINE and bool(baseline),
        "chance": 1 / len(run.classes) if run.classes else None,
        "effects": [effect(run, name) for name in arms if synthesises(name)],
        "worries": worries(run, as_dict(scores.get(DECIDING)))[:SHOWN_WORRIES],
        "confidence": as_dict(run.evaluation.get("settings")).get("confidence", 0.95),
    }
    sources = (
        "evaluation.json", "classifier/arms.json", "audit.json", "gan/gan.json",
        "explanation.json", "run.json",
    )  # fmt: skip
    return Section("verdict", "In short", values, sources)


def shown_arm(run: RunFiles, arms: dict[str, Any]) -> tuple[str, str]:
    """The arm whose scores lead the page, and how it was chosen, in words.

    Without a choice on VAL it is the arm with synthetic images, never the best on TEST.
    """
    choice = run.document("classifier/arms.json")
    if choice.get("chosen") in arms:
        how = "chosen for its macro-F1 on VAL"
        if choice.get("guarded") and not synthesises(str(choice["chosen"])):
            how += " after the harm guard had ruled out synthetic images"
        return str(choice["chosen"]), how
    made = [name for name in arms if synthesises(name)]
    return next(iter(made or arms), ""), ""


def _few_groups(run: RunFiles) -> bool:
    groups = as_dict(run.evaluation.get("groups_by_class"))
    return min(groups.values(), default=FEW_GROUPS) < FEW_GROUPS


def synthesises(arm: str) -> bool:
    """Whether an arm is trained with synthetic images."""
    known = {str(name): treatment.objective is not None for name, treatment in TREATMENTS.items()}
    return known.get(arm, arm != BASELINE)


def arm_sentence(arm: str) -> str:
    """What an arm is, in words; empty for an arm this version does not know."""
    return {str(name): treatment.sentence for name, treatment in TREATMENTS.items()}.get(arm, "")


def effect(run: RunFiles, arm: str) -> dict[str, Any]:
    """What an arm did to the deciding metric, and to the other headline metrics (promise P6).

    It is compared with the last reference that was trained: over-sampling without synthetic images,
    else real images as they are.
    """
    paired = [as_dict(row) for row in as_list(run.evaluation.get("paired"))]
    paired = [row for row in paired if row.get("arm") == arm and row.get("against") in REFERENCES]
    against = max((row["against"] for row in paired), key=REFERENCES.index, default=BASELINE)
    rows = {str(row.get("metric")): row for row in paired if row["against"] == against}
    row = rows.get(DECIDING) or next(iter(rows.values()), {})
    if not row:
        return {}
    metric = str(row.get("metric"))
    others = [_changed(m, rows[m]) for m in HEADLINE if m in rows and m != metric]
    return {
        "arm": arm,
        "against": against,
        "same": against == BALANCED,
        "judged": row.get("verdict"),
        "metric": metric_name(metric),
        "row": row,
        "others": others,
    }


def _changed(metric: str, row: dict[str, Any]) -> str:
    """By how much a metric changed, and whether that is clear."""
    judged, changed = row.get("verdict"), signed(row.get("difference"))
    clearly = f", clearly {judged}" if judged in CLEAR else ""
    return f"{metric_name(metric)} {changed} ({interval(row.get('low'), row.get('high'))}{clearly})"
