"""From counts to sentences: the findings of an audit."""

from __future__ import annotations

from collections import defaultdict

from sonobalance.data.audit.duplicates import Pair, PairKind
from sonobalance.data.audit.findings import Finding, Kind
from sonobalance.data.audit.outcome import Audit
from sonobalance.data.audit.shortcuts import Guess
from sonobalance.data.manifest import Manifest

TINY_PX = 64
SHORTCUT_EXCESS = 0.05  # balanced accuracy beyond chance that is worth a finding
IMBALANCE = 1.5
WORDS: dict[PairKind, str] = {
    "exact": "are the same file",
    "copy": "show the same picture",
    "reframed": "show the same picture, cropped or zoomed",
    "mirrored": "show the same picture, mirrored",
    "view": "show the same lesion or tissue in another frame",
}


def conclude(manifest: Manifest, audit: Audit) -> tuple[Finding, ...]:
    """The findings, conflicts first, then duplicates, shortcuts and poor images."""
    return (
        *_conflicts(manifest, audit),
        *(_duplicate(pair) for pair in audit.pairs),
        *_shortcuts(audit),
        *_imbalance(audit),
        *_poor(manifest, audit),
    )


def _conflicts(manifest: Manifest, audit: Audit) -> list[Finding]:
    """Near-duplicates with several labels; the score is that of their surest contradicting pair.

    Images of one patient may well differ in class; only copies and views of one lesion may not.
    """
    members = defaultdict(list)
    for r in manifest:
        members[audit.copies[r.id]].append(r)
    surest: dict[str, float] = {}
    for pair in audit.pairs:
        if pair.conflict:
            name = audit.copies[pair.a]
            surest[name] = max(pair.score, surest.get(name, 0.0))
    found = []
    for name, own in members.items():
        labels = sorted({r.label for r in own if r.label})
        if len(labels) > 1:
            ids = tuple(r.id for r in own)
            text = (
                f"{len(own)} near-duplicates, {ids[0]} and {'others' if len(own) > 2 else ids[1]}, "
                f"carry the labels {' and '.join(labels)}."
            )
            found.append(Finding("label-conflict", ids, surest.get(name, 0.5), text))
    return sorted(found, key=lambda f: -f.score)


def _duplicate(pair: Pair) -> Finding:
    kind: Kind = "exact-duplicate" if pair.kind == "exact" else "near-duplicate"
    text = f"{pair.a} and {pair.b} {WORDS[pair.kind]}."
    return Finding(kind, (pair.a, pair.b), pair.score, text)


def _shortcuts(audit: Audit) -> list[Finding]:
    found = []
    if audit.mark_table.guess and audit.mark_table.guess.excess > SHORTCUT_EXCESS:
        text = f"From the burnt-in marks alone {_guessed(audit.mark_table.guess)}."
        found.append(Finding("mark-shortcut", (), audit.mark_table.guess.excess, text))
    if audit.metadata_guess and audit.metadata_guess.excess > SHORTCUT_EXCESS:
        known = "size, borders, brightness and scanner (where known)"
        text = f"From {known} alone {_guessed(audit.metadata_guess)}."
        found.append(Finding("metadata-shortcut", (), audit.metadata_guess.excess, text))
    return found


def _guessed(guess: Guess) -> str:
    return (
        f"the class is guessed with accuracy {guess.accuracy:.3f} (largest class "
        f"{guess.chance:.3f}), balanced accuracy {guess.balanced_accuracy:.3f} (chance "
        f"{guess.balanced_chance:.3f})"
    )


def _imbalance(audit: Audit) -> list[Finding]:
    if audit.imbalance < IMBALANCE:
        return []
    counts = audit.images_per_class
    most, least = max(counts, key=lambda n: counts[n]), min(counts, key=lambda n: counts[n])
    text = (
        f"The largest class has {audit.imbalance:.1f} times the images of the smallest "
        f"({most} {counts[most]}, {least} {counts[least]})."
    )
    return [Finding("imbalance", (), 1 - 1 / audit.imbalance, text)]


def _poor(manifest: Manifest, audit: Audit) -> list[Finding]:
    found = [
        Finding("broken", (), 1.0, f"{path} was left out: {why}") for path, why in audit.skipped
    ]
    for r in manifest:
        quality = audit.quality.get(r.id)
        if quality is None:
            why = audit.unreadable.get(r.id, "it could not be read.")
            found.append(Finding("broken", (r.id,), 1.0, f"{r.id} could not be read: {why}"))
        elif quality.constant:
            found.append(Finding("constant", (r.id,), 1.0, f"{r.id} shows one grey value only."))
        elif min(quality.width, quality.height) < TINY_PX:
            text = f"{r.id} has {quality.width} x {quality.height} pixels only."
            score = 1 - min(quality.width, quality.height) / TINY_PX
            found.append(Finding("tiny", (r.id,), score, text))
    return found
