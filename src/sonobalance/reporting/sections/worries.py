"""What a reader should doubt first."""

from __future__ import annotations

from typing import Any

from sonobalance.reporting.artefacts import RunFiles, as_dict, as_list
from sonobalance.reporting.formatting import finite, number, plural
from sonobalance.reporting.sections.explanations import unfit_maps


def worries(run: RunFiles, score: dict[str, Any]) -> list[str]:
    """Everything a reader should doubt, worst first, a sentence each.

    Args:
        run: the files of the run.
        score: balanced accuracy of the arm that leads the page, with its interval.
    """
    found = []
    if run.leaky:
        found.append(
            "The parts were dealt image by image, so relatives of TRAIN images stand in TEST: "
            "every score on this page is too good."
        )
    found += [*_at_chance(run, score), *map(str, as_list(run.evaluation.get("warnings")))]
    found += [*_generator(run), *_unfit(run)]
    found += _by_kind(run)
    skipped = len(as_list(run.record.get("skipped")))
    if skipped:
        were = "was" if skipped == 1 else "were"
        found.append(f"{plural(skipped, 'file')} could not be used and {were} left out.")
    return found


def _at_chance(run: RunFiles, score: dict[str, Any]) -> list[str]:
    low, chance = finite(score.get("low")), 1 / max(1, len(run.classes))
    if low is None or low > chance:
        return []
    return [
        "The classifier may be no better than guessing: the interval of its balanced accuracy "
        f"reaches down to {number(low)}, and guessing gives {number(chance)}."
    ]


def _generator(run: RunFiles) -> list[str]:
    gan = run.document("gan/gan.json")
    early = "The generator’s training ended early." if gan.get("best_kimg") else "No generator."
    ended = f"{early} {gan.get('stop')}"
    warned = [f"While the generator learned: {text}" for text in as_list(gan.get("warnings"))]
    return [*([ended] if gan.get("collapsed") else []), *warned]


def _unfit(run: RunFiles) -> list[str]:
    unfit = unfit_maps(run.document("explanation.json"))
    return [f"Unfit as explanations, by a sanity check: {', '.join(unfit)}."] if unfit else []


def _by_kind(run: RunFiles) -> list[str]:
    """The worst finding of each kind of the audit, and how many there are."""
    findings = [as_dict(f) for f in as_list(run.audit.get("findings"))]
    findings.sort(key=lambda f: -(finite(f.get("score")) or 0.0))
    told = []
    kinds: dict[str, list[dict[str, Any]]] = {}
    for finding in findings:
        kinds.setdefault(str(finding.get("kind")), []).append(finding)
    for kind, members in kinds.items():
        text = str(members[0].get("text", kind))
        more = f" ({plural(len(members), 'such finding')} in all)" if len(members) > 1 else ""
        told.append(text + more)
    return told
