"""What the data are and what is wrong with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from sonobalance.report.artefacts import RunFiles, as_dict, as_list
from sonobalance.report.figures import PARTS, parts_figure
from sonobalance.report.formatting import finite
from sonobalance.report.pictures import Picture, scan
from sonobalance.report.section import Section

SHOWN_PAIRS = 6
SHOWN_FINDINGS = 40
THUMBNAIL_PX = 220


def data(run: RunFiles) -> Section:
    """Counts, parts, near-duplicates, label conflicts, marks, shortcuts and skipped files."""
    findings = [as_dict(f) for f in as_list(run.audit.get("findings"))]
    conflicts = [f for f in findings if "conflict" in str(f.get("kind"))]
    duplicates = [f for f in findings if "duplicate" in str(f.get("kind")) and f not in conflicts]
    values = {
        "present": bool(run.splits or run.audit),
        "audited": bool(run.audit),
        "counts": _counts(run),
        "imbalance": _imbalance(run),
        "figure": parts_figure(run.part_counts, run.classes),
        "parts": [p for p in PARTS if any(row["part"] == p for row in run.splits)],
        "leaky": run.leaky,
        "duplicate_count": len(duplicates),
        "duplicate_pairs": [_pair(run, f) for f in _spread(duplicates)],
        "group_sizes": _group_sizes(run),
        "conflict_count": len(conflicts),
        "conflict_pairs": [_pair(run, f) for f in conflicts[:SHOWN_PAIRS]],
        "conflict_policy": as_dict(run.settings.get("split")).get("label_conflicts", "drop"),
        "excluded": sum(row["part"] == "excluded" for row in run.splits),
        "marks": _marks(run),
        "mark_kinds": sorted({row["kind"] for row in run.rows("marks.csv")}),
        "has_marks_file": run.has("marks.csv"),
        "shortcuts": _shortcuts(run),
        "skipped": [as_dict(s) for s in as_list(run.record.get("skipped"))],
        "other": _other(findings, duplicates + conflicts),
        "audit_page": run.has("audit.html"),
    }
    sources = ("manifest.csv", "splits.csv", "audit.json", "groups.csv", "marks.csv", "run.json")
    return Section("data", "The data", values, sources)


def _counts(run: RunFiles) -> list[dict[str, Any]]:
    """Per class: images, independent groups, and both again per part."""
    groups: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in run.splits:
        groups[row["label"], row["part"]].add(row["group"])
        groups[row["label"], "all"].add(row["group"])
    total = len(run.splits)
    return [
        {
            "label": label,
            "images": sum(run.part_counts.get((label, part), 0) for part in PARTS),
            "share": sum(run.part_counts.get((label, p), 0) for p in PARTS) / total,
            "groups": len(groups[label, "all"]),
            "parts": {
                p: (run.part_counts.get((label, p), 0), len(groups[label, p])) for p in PARTS
            },
        }
        for label in sorted({row["label"] for row in run.splits})
    ]


def _imbalance(run: RunFiles) -> float | None:
    sizes = Counter(row["label"] for row in run.splits if row["part"] != "excluded")
    return max(sizes.values()) / min(sizes.values()) if len(sizes) > 1 else None


def _group_sizes(run: RunFiles) -> dict[str, int]:
    sizes = Counter(row["group"] for row in run.splits)
    together = sum(n for n in sizes.values() if n > 1)
    return {
        "groups": len(sizes),
        "images_in_groups": together,
        "largest": max(sizes.values(), default=0),
    }


def _spread(findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Examples from the surest to the least sure finding, evenly spaced."""
    ordered = sorted(findings, key=lambda f: -(finite(f.get("score")) or 0.0))
    if len(ordered) <= SHOWN_PAIRS:
        return ordered
    step = (len(ordered) - 1) / (SHOWN_PAIRS - 1)
    return [ordered[round(i * step)] for i in range(SHOWN_PAIRS)]


def _pair(run: RunFiles, finding: Mapping[str, Any]) -> dict[str, Any]:
    ids = [str(key) for key in as_list(finding.get("ids"))[:2]]
    shots: list[Picture] = []
    for key in ids:
        label = run.real[key][1].label if key in run.real else ""
        shots.append(scan(run.real, key, THUMBNAIL_PX, f"{key}" + (f" · {label}" if label else "")))
    return {
        "shots": shots,
        "text": finding.get("text", ""),
        "score": finding.get("score"),
        "more": max(0, len(as_list(finding.get("ids"))) - 2),
    }


def _marks(run: RunFiles) -> list[dict[str, Any]]:
    """Per class: images, images with any mark, and images with each kind of mark."""
    by_kind: dict[str, set[str]] = defaultdict(set)
    for row in run.rows("marks.csv"):
        by_kind[row["kind"]].add(row["id"])
        by_kind["any"].add(row["id"])
    members: dict[str, set[str]] = defaultdict(set)
    for row in run.splits:
        members[row["label"]].add(row["id"])
    return [
        {
            "label": label,
            "images": len(ids),
            "any": len(ids & by_kind["any"]),
            "kinds": {kind: len(ids & marked) for kind, marked in by_kind.items() if kind != "any"},
        }
        for label, ids in sorted(members.items())
    ]


def _shortcuts(run: RunFiles) -> dict[str, Any]:
    found = run.audit.get("shortcuts") or as_dict(run.audit.get("summary")).get("shortcuts")
    return as_dict(found)


def _other(findings: list[dict[str, Any]], shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings not shown as pairs, worst first."""
    rest = [f for f in findings if f not in shown]
    return sorted(rest, key=lambda f: -(finite(f.get("score")) or 0.0))[:SHOWN_FINDINGS]
