"""How the run was made: settings, versions, hardware, timings, hashes, source files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sonobalance.report.artefacts import RunFiles, as_dict
from sonobalance.report.section import Section

FILES = {
    "run.json": "resolved settings, versions, hardware, hashes, timings",
    "manifest.csv": "every image: path, label, patient, masks, SHA-256",
    "audit.json": "findings of the data audit",
    "groups.csv": "group of each image (patient or near-duplicates)",
    "marks.csv": "burnt-in marks with their boxes",
    "splits.csv": "part and fold of each image",
    "gan/gan.json": "how the generator was trained",
    "gan/stats.jsonl": "training log of the generator",
    "synthesis/synthesis.json": "summary of the synthesis, fidelity, stop reason",
    "synthesis/rounds.csv": "one row per round",
    "synthesis/selection.csv": "every candidate, its scores, kept or why not",
    "synthesis/manifest.csv": "every accepted synthetic image with its provenance",
    "predictions.csv": "probabilities of every arm for each VAL and TEST image",
    "evaluation.json": "metrics, intervals, paired differences, calibration",
    "explanation.json": "scores of the evidence maps, gallery cases",
}


def record(run: RunFiles, sections: Iterable[Section]) -> Section:
    """Settings, environment, stages, and the source file of every chapter (promise P3)."""
    values = {
        "present": bool(run.record),
        "settings": _grouped(run.settings),
        "environment": as_dict(run.record.get("environment")),
        "preset": run.record.get("preset"),
        "seed": run.settings.get("seed"),
        "stages": _stages(run),
        "hashes": _hashes(run),
        "trace": [
            (section.title, section.key, [(name, run.has(name)) for name in section.sources])
            for section in sections
        ],
        "files": [(name, words, run.has(name)) for name, words in FILES.items()],
    }
    return Section("record", "How this was made", values, ("run.json",))


def _grouped(settings: dict[str, Any]) -> list[tuple[str, list[tuple[str, Any]]]]:
    """Settings by section; single values come first under `general`."""
    general = [(k, v) for k, v in settings.items() if not isinstance(v, dict)]
    groups = [(k, list(v.items())) for k, v in settings.items() if isinstance(v, dict) and v]
    return ([("general", general)] if general else []) + groups


def _stages(run: RunFiles) -> list[dict[str, Any]]:
    stages = as_dict(run.record.get("stages"))
    return [{"name": name, **as_dict(entry)} for name, entry in stages.items()]


def _hashes(run: RunFiles) -> list[tuple[str, str, str]]:
    """(stage, file, SHA-256) of every output."""
    return [
        (stage["name"], name, str(digest))
        for stage in _stages(run)
        for name, digest in as_dict(stage.get("outputs")).items()
    ]
