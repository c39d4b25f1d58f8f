"""How the run was made: settings, versions, hardware, timings, hashes, source files."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from sonobalance.reporting.artefacts import RunFiles, as_dict
from sonobalance.reporting.section import Section

TRACES = (
    ("data", "images per class and part", "splits.csv", "label, part", "split", "split"),
    ("data", "independent groups", "groups.csv", "group", "audit", "audit"),
    ("data", "duplicates, conflicts, shortcuts", "audit.json", "pairs, findings", "audit", "audit"),
    ("data", "burnt-in marks", "marks.csv", "kind", "audit", "audit"),
    ("data", "files left out", "run.json", "skipped", "index", "data"),
    ("synthesis", "training curves", "gan/stats.jsonl", "a row per snapshot", "train-gan", "gan"),
    ("synthesis", "candidates, reasons, distances", "synthesis/selection.csv", "kept, reason",
     "synthesize", "synthesis"),
    ("synthesis", "rounds", "synthesis/rounds.csv", "a row per round", "synthesize", "synthesis"),
    ("synthesis", "fidelity, why it stopped", "synthesis/synthesis.json", "fidelity, stop_reason",
     "synthesize", "synthesis"),
    ("verdict", "which arm leads", "classifier/arms.json", "chosen", "train", "classifier"),
    ("results", "scores and intervals", "evaluation.json", "arms", "evaluate", "evaluation"),
    ("results", "differences", "evaluation.json", "paired", "evaluate", "evaluation"),
    ("results", "confusion, ROC, calibration", "evaluation.json", "confusion, roc, calibration",
     "evaluate", "evaluation"),
    ("results", "probabilities of each image", "predictions.csv", "p_…", "predict", ""),
    ("explanations", "scores of the maps, cases", "explanation.json", "maps, cases", "explain",
     "explanation"),
    ("record", "settings, versions, timings, hashes", "run.json", "settings, environment, stages",
     "every stage", ""),
)  # fmt: skip
TRACE_COLUMNS = ("chapter", "number", "file", "field", "stage", "settings")


def record(run: RunFiles) -> Section:
    """Settings, environment, stages, and the file and stage behind every number (promise P3)."""
    values = {
        "present": bool(run.record),
        "settings": _grouped(run.settings),
        "environment": as_dict(run.record.get("environment")),
        "preset": run.record.get("preset"),
        "seed": run.settings.get("seed"),
        "stages": _stages(run),
        "hashes": _hashes(run),
        "trace": [_trace(run, dict(zip(TRACE_COLUMNS, row, strict=True))) for row in TRACES],
        "missing": {row[2] for row in TRACES if not run.has(row[2])},
    }
    return Section("record", "How this was made", values, ("run.json",))


def _trace(run: RunFiles, row: dict[str, str]) -> dict[str, Any]:
    stage = as_dict(as_dict(run.record.get("stages")).get(row["stage"]))
    inputs = as_dict(as_dict(stage.get("fingerprint")).get("inputs"))
    images = str(run.record.get("source"))
    return row | {"inputs": ["the images" if name == images else name for name in inputs]}


def _grouped(settings: dict[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Settings by section; single values come first under `general`, files go by their names."""
    general = [(k, _named(v)) for k, v in settings.items() if not isinstance(v, dict)]
    groups = [
        (section, [(k, v if k == "patient_pattern" else _named(v)) for k, v in values.items()])
        for section, values in settings.items()
        if isinstance(values, dict) and values
    ]
    return ([("general", general)] if general else []) + groups


def _named(value: Any) -> Any:
    """A path without its folders, which may tell who worked where."""
    path = PurePath(value) if isinstance(value, str) else PurePath()
    return path.name if path.is_absolute() else value


def _stages(run: RunFiles) -> list[dict[str, Any]]:
    stages = as_dict(run.record.get("stages"))
    return [{"name": name, **as_dict(entry)} for name, entry in stages.items()]


def _hashes(run: RunFiles) -> list[tuple[str, str, str]]:
    """(stage, file, SHA-256) of every output."""
    return [
        (stage["name"], name, str(digest))
        for stage in _stages(run)
        for name, digest in as_dict(stage.get("outputs")).items()
        if digest
    ]
