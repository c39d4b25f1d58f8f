"""The audit: look at every image once, then at pairs, groups, classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from sonobalance.config import AuditSettings
from sonobalance.data.audit.conclusions import conclude
from sonobalance.data.audit.duplicates import Pair, accept, exact_pairs, near_pairs
from sonobalance.data.audit.look import Look, look_at_all
from sonobalance.data.audit.marks import KINDS
from sonobalance.data.audit.outcome import Audit, MarkTable, Sensitivity
from sonobalance.data.audit.shortcuts import Guess, guess_class, mutual_information_bits
from sonobalance.data.groups import group_copies, group_images
from sonobalance.data.manifest import Manifest

THRESHOLDS = (0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999)
ANY = "any combination"
NO_MARKS = MarkTable({}, {}, None)  # where none were looked for


def audit(
    manifest: Manifest,
    settings: AuditSettings,
    skipped: Sequence[Mapping[str, str]] = (),
    seed: int = 0,
) -> Audit:
    """Find near-duplicates, label conflicts, marks, shortcuts and poor images.

    Args:
        manifest: the images; those that cannot be read are listed and stand alone.
        settings: what is looked for, and how closely.
        skipped: files left out when the manifest was made, as mappings with `path` and `reason`.
        seed: of the visual vocabulary and of the cross-validation; the images decide the rest.

    Returns:
        Everything found; the same manifest, settings and seed give the same result.
    """
    looks = look_at_all(manifest, settings)
    pairs = _pairs(manifest, looks, settings, seed)
    joined = accept(manifest, pairs, settings.duplicate_threshold, settings.joining_threshold)
    joining = set(joined)
    links = [(p.a, p.b) for p in joined]
    groups = group_images(manifest, links)
    counts = manifest.counts
    outcome = Audit(
        findings=(),
        groups=groups,
        copies=group_copies(manifest, links),
        pairs=tuple(joined),
        weaker=tuple(p for p in pairs if p not in joining),
        marks={r.id: look.marks for r, look in zip(manifest, looks, strict=True) if look.marks},
        mark_table=_mark_table(manifest, looks, groups, seed) if settings.marks else NO_MARKS,
        quality={
            r.id: look.quality for r, look in zip(manifest, looks, strict=True) if look.quality
        },
        metadata_guess=_metadata_guess(manifest, looks, groups, seed),
        images_per_class=counts,
        groups_per_class={
            name: len({groups[r.id] for r in manifest if r.label == name}) for name in counts
        },
        imbalance=max(counts.values()) / min(counts.values()) if counts else 1.0,
        sensitivity=_sensitivity(manifest, pairs, settings),
        unreadable={
            r.id: look.trouble for r, look in zip(manifest, looks, strict=True) if look.trouble
        },
        skipped=tuple((str(s["path"]), str(s["reason"])) for s in skipped),
    )
    return replace(outcome, findings=conclude(manifest, outcome))


def _pairs(
    manifest: Manifest, looks: Sequence[Look], settings: AuditSettings, seed: int
) -> list[Pair]:
    """Exact copies first, then near-duplicates, surest first."""
    seen = [(r, look.features) for r, look in zip(manifest, looks, strict=True) if look.features]
    kept = replace(manifest, records=tuple(r for r, _ in seen))
    exact = exact_pairs(manifest)
    known = {(p.a, p.b) for p in exact}
    near = near_pairs(kept, [features for _, features in seen if features], settings, seed)
    return exact + [p for p in near if (p.a, p.b) not in known]


def _sensitivity(
    manifest: Manifest, pairs: Sequence[Pair], settings: AuditSettings
) -> tuple[Sensitivity, ...]:
    rows = []
    for threshold in sorted({*THRESHOLDS, settings.duplicate_threshold}):
        strong = max(threshold, settings.joining_threshold)
        joined = accept(manifest, pairs, threshold, strong)
        sizes = Counter(group_images(manifest, [(p.a, p.b) for p in joined]).values())
        together = sum(n for n in sizes.values() if n > 1)
        rows.append(Sensitivity(threshold, len(joined), len(sizes), together))
    return tuple(rows)


def _mark_table(
    manifest: Manifest, looks: Sequence[Look], groups: Mapping[str, str], seed: int
) -> MarkTable:
    labelled = [(r, look) for r, look in zip(manifest, looks, strict=True) if r.label]
    labels = [r.label for r, _ in labelled]
    present = [[any(m.kind == kind for m in look.marks) for kind in KINDS] for _, look in labelled]
    counts = [[sum(m.kind == kind for m in look.marks) for kind in KINDS] for _, look in labelled]
    images: dict[str, dict[str, int]] = {
        name: {
            kind: sum(row[k] for row, label in zip(present, labels, strict=True) if label == name)
            for k, kind in enumerate(KINDS)
        }
        for name in manifest.classes
    }
    bits: dict[str, float] = {
        kind: mutual_information_bits([str(row[k]) for row in present], labels)
        for k, kind in enumerate(KINDS)
    }
    bits[ANY] = mutual_information_bits([str(row) for row in present], labels)
    return MarkTable(
        images, bits, guess_class(counts, labels, [groups[r.id] for r, _ in labelled], seed)
    )


def _metadata_guess(
    manifest: Manifest, looks: Sequence[Look], groups: Mapping[str, str], seed: int
) -> Guess | None:
    devices = sorted({r.device for r in manifest})
    rows: list[tuple[list[float], str, str]] = [
        (
            [*look.quality.features(), *(float(r.device == d) for d in devices)],
            r.label,
            groups[r.id],
        )
        for r, look in zip(manifest, looks, strict=True)
        if r.label and look.quality
    ]
    if not rows:
        return None
    return guess_class(
        [x for x, _, _ in rows], [y for _, y, _ in rows], [g for *_, g in rows], seed
    )
