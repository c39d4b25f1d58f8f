"""Write the figures of a finished run, without images and paths, for docs/results/.

python benchmarks/summarise_run.py RUN docs/results/busi-run.json "the command that made it"
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from sonobalance.artefacts import splits_of
from sonobalance.files import read_json, write_json
from sonobalance.runs import open_run


def summary(folder: Path, command: str) -> dict[str, Any]:
    run = open_run(folder)
    record = run.record
    stages = {
        name: {key: stage[key] for key in ("seconds", "processor_seconds", "peak_memory_mib")}
        for name, stage in record["stages"].items()
    }
    settings = run.settings.model_dump(mode="json")
    settings["classifier"]["weights"] = Path(settings["classifier"]["weights"] or "none").name
    audit, evaluation = read_json(folder / "audit.json"), read_json(folder / "evaluation.json")
    explanation = read_json(folder / "explanation.json")
    return {
        "command": command,
        "data": record["name"],
        "environment": list(record["stages"].values())[-1]["environment"],
        "settings": settings,
        "minutes": round(sum(stage["seconds"] for stage in stages.values()) / 60, 1),
        "peak_memory_mib": max(stage["peak_memory_mib"] for stage in stages.values()),
        "stages": stages,
        "parts": parts(run),
        "audit": {key: value for key, value in audit.items() if is_figure(value)},
        "gan": read_json(folder / "gan" / "gan.json"),
        "synthesis": read_json(folder / "synthesis" / "synthesis.json"),
        "arms": evaluation["arms"],
        "paired": evaluation["paired"],
        "chosen": read_json(folder / "classifier" / "arms.json"),
        "n": evaluation["n"],
        "groups": evaluation["groups"],
        "maps": explanation["maps"],
        "target_layer": explanation["target_layer"],
    }


def parts(run: Any) -> dict[str, dict[str, int]]:
    splits = splits_of(run)
    return {name: splits.of(name).counts for name in ("train", "val", "test", "excluded")}


def is_figure(value: Any) -> bool:
    """Numbers and small blocks of numbers; no lists of images."""
    if isinstance(value, dict):
        return len(value) <= 12 and all(is_figure(inner) for inner in value.values())
    return isinstance(value, int | float | str)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("command", help="what made the run")
    given = parser.parse_args()
    write_json(given.out, summary(given.run, given.command))
    print(given.out)
