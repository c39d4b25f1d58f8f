"""What the data are and what is wrong with them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from sonobalance.reporting.artefacts import RunFiles, as_dict, as_list
from sonobalance.reporting.figures import PARTS, parts_figure
from sonobalance.reporting.formatting import finite
from sonobalance.reporting.pictures import scan
from sonobalance.reporting.section import Section

SHOWN_PAIRS = 6
THUMBNAIL_PX = 220
SHOWN_AS_PAIRS = ("exact-duplicate", "near-duplicate", "label-conflict")
PAIR_KINDS = {
    "exact": "The same file content",
    "copy": "The same picture",
    "reframed": "The same picture, cropped or zoomed",
    "mirrored": "The same picture, mirrored",
    "view": "The same lesion, another frame",
}
PROBES = {"metadata": "image size, brightness, borders and scanner", "marks": "burnt-in marks"}
GUESS_COLUMNS = ("accuracy", "chance", "balanced_accuracy", "balanced_chance")


def data(run: RunFiles) -> Section:
    """Counts, parts, near-duplicates, label conflicts, marks, shortcuts and skipped files."""
    pairs = [as_dict(pair) for pair in as_list(run.audit.get("pairs"))]
    conflicts = [pair for pair in pairs if len(set(as_list(pair.get("labels"))) - {""}) > 1]
    duplicates = [pair for pair in pairs if pair not in conflicts]
    values = {
        "present": bool(run.splits or run.audit),
        "audited": bool(run.audit),
        "counts": _counts(run),
        "imbalance": _imbalance(run),
        "figure": parts_figure(run.part_counts, run.classes),
        "parts": [p for p in PARTS if any(row["part"] == p for row in run.splits)],
        "leaky": run.leaky,
        "duplicate_count": len(duplicates),
        "duplicate_pairs": [_pair(run, pair) for pair in _spread(duplicates)],
        "group_sizes": _group_sizes(run),
        "conflict_count": len(conflicts),
        "conflict_pairs": [_pair(run, pair) for pair in conflicts[:SHOWN_PAIRS]],
        "conflict_policy": as_dict(run.settings.get("split")).get("label_conflicts", "drop"),
        "conflicts_excluded": _excluded(run),
        "duplicates_sought": as_dict(run.settings.get("audit")).get("near_duplicates", True),
        "marks_sought": as_dict(run.settings.get("audit")).get("marks", True),
        "marks": _marks(run),
        "mark_kinds": sorted({row["kind"] for row in run.rows("marks.csv")}),
        "clean_marks": _cleaned(run),
        "has_marks_file": run.has("marks.csv"),
        "shortcuts": _shortcuts(as_dict(run.audit.get("shortcuts"))),
        "mark_bits": as_dict(run.audit.get("shortcuts")).get("marks_information_bits"),
        "skipped": [as_dict(s) for s in as_list(run.record.get("skipped"))],
        "other": _other(run),
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
    sizes = Counter(row["label"] for row in run.splits)
    return max(sizes.values()) / min(sizes.values()) if len(sizes) > 1 else None


def _group_sizes(run: RunFiles) -> dict[str, int]:
    sizes = Counter(row["group"] for row in run.splits)
    together = sum(n for n in sizes.values() if n > 1)
    return {
        "groups": len(sizes),
        "images_in_groups": together,
        "largest": max(sizes.values(), default=0),
    }


def _cleaned(run: RunFiles) -> bool:
    """Whether networks read images without their marks; the setting may have changed since."""
    train = as_dict(as_dict(run.record.get("stages")).get("train"))
    then = as_dict(as_dict(train.get("fingerprint")).get("settings"))
    return bool(then.get("clean_marks", run.settings.get("clean_marks")))


def _excluded(run: RunFiles) -> int:
    """Images in no part among those of the label conflicts; images outside a subset are others."""
    findings = [as_dict(f) for f in as_list(run.audit.get("findings"))]
    conflicts = [f for f in findings if f.get("kind") == "label-conflict"]
    ids = {key for f in conflicts for key in as_list(f.get("ids"))}
    return sum(row["part"] == "excluded" for row in run.splits if row["id"] in ids)


def _spread(pairs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Examples from the surest to the least sure pair, evenly spaced."""
    ordered = sorted(pairs, key=lambda pair: -(finite(pair.get("score")) or 0.0))
    if len(ordered) <= SHOWN_PAIRS:
        return ordered
    step = (len(ordered) - 1) / (SHOWN_PAIRS - 1)
    return [ordered[round(i * step)] for i in range(SHOWN_PAIRS)]


def _pair(run: RunFiles, pair: Mapping[str, Any]) -> dict[str, Any]:
    """Two images side by side, their labels, how they are related and how sure that is."""
    ids = [str(key) for key in as_list(pair.get("ids"))]
    labels = [str(label) for label in as_list(pair.get("labels"))] or [""] * len(ids)
    return {
        "shots": [
            scan(run.real, key, THUMBNAIL_PX, f"{label}: {key}" if label else key)
            for key, label in zip(ids, labels, strict=False)
        ],
        "text": PAIR_KINDS.get(str(pair.get("kind")), "The same tissue"),
        "score": pair.get("score"),
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


def _shortcuts(block: dict[str, Any]) -> list[dict[str, Any]]:
    """What the class was guessed from, and how well beside chance."""
    return [
        {"words": words, **{name: block.get(f"{key}_{name}") for name in GUESS_COLUMNS}}
        for key, words in PROBES.items()
        if f"{key}_accuracy" in block
    ]


def _other(run: RunFiles) -> list[dict[str, Any]]:
    """Kinds of findings not shown as pairs: how many, and the worst one in words."""
    findings = [as_dict(f) for f in as_list(run.audit.get("findings"))]
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for finding in sorted(findings, key=lambda f: -(finite(f.get("score")) or 0.0)):
        if finding.get("kind") not in SHOWN_AS_PAIRS:
            kinds[str(finding.get("kind"))].append(finding)
    return [
        {"kind": kind.replace("-", " "), "n": len(own), "text": own[0].get("text", "")}
        for kind, own in kinds.items()
    ]
