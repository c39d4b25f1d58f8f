"""Write what the gates measured on BUSI into `docs/synthesis.md`, from `docs/results/*.json`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

DOCS = Path(__file__).parent
START, END = "<!-- gates -->\n", "<!-- /gates -->"


def read(name: str) -> dict:
    path = DOCS / "results" / name
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def gates() -> str:
    found = read("gates-busi.json")
    if not found:
        return ""
    novelty, classes = found["novelty"], found.get("class")
    kinds = novelty["altered_copies"]
    text = (
        f"Measured on BUSI TRAIN at {found['size_px']} px "
        f"([gates-busi.json](results/gates-busi.json), `benchmarks/gates.py`): "
        f"{found['train_images']} images calibrate the gates, "
        f"{found['held_out_images']} of other groups are held out.\n\n"
    )
    text += "| altered copies of TRAIN images | refused by novelty |\n|---|---|\n"
    text += "".join(f"| {kind} | {row['rejected']:.1%} |\n" for kind, row in kinds.items())
    text += f"| *held-out real images (false alarms)* | {novelty['held_out_rejected']:.1%} |\n\n"
    if classes:
        text += swapped(classes)
    loops = {k.removeprefix("loop:"): row for k, row in found.items() if k.startswith("loop:")}
    if loops:
        text += "| generator (realism switched off) | made | accepted | the loop stopped |\n"
        text += "|---|---|---|---|\n"
        for name, row in loops.items():
            kept = ", ".join(f"{n} {k}" for k, n in row["accepted"].items()) or "none"
            text += f"| {name} | {row['candidates']} | {kept} | {row['stop_reason']} |\n"
        text += "\n"
    return text


def swapped(classes: dict) -> str:
    own = ", ".join(f"{c['own_passed']:.0%} of {k} pass" for k, c in classes["classes"].items())
    return (
        f"Held-out images presented under another class: {classes['swapped_rejected']:.0%} refused "
        f"by the class gate; under their own: {own}.\n\n"
    )


def realism() -> str:
    found = read("realism-busi.json")
    if not found:
        return ""
    text = (
        "Does the realism gate refuse too much? Separability (AUC; 0.5 is none) by the two "
        "discriminators of a GAN on BUSI ([realism-busi.json](results/realism-busi.json), "
        "`benchmarks/realism.py`):\n\n"
        "| class | estimate | learnt against held-back | held-back against generated | generated "
        "that pass, calibrated on learnt / held-back |\n|---|---|---|---|---|\n"
    )
    for label, row in found["classes"].items():
        passed = f"{row['passed']['learnt']:.0%} / {row['passed']['held_back']:.0%}"
        for name in ("r1", "r2"):
            text += (
                f"| {label} | {name} | {row[name]['learnt_against_held_back']:.2f} | "
                f"{row[name]['held_back_against_generated']:.2f} | {passed} |\n"
            )
    return text + "\n"


def speed() -> str:
    found = read("sampling-speed.json")
    if not found:
        return ""
    plain, gated = found["without_gates"], found["with_gates"]
    return (
        f"Sampling at {found['size_px']} px ([sampling-speed.json](results/sampling-speed.json)): "
        f"{plain['candidates_per_processor_second']:.0f} images per processor second without "
        f"gates, {gated['candidates_per_processor_second']:.1f} candidates with them.\n\n"
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    page = DOCS / "synthesis.md"
    text = page.read_text(encoding="utf-8")
    before, rest = text.split(START)
    _, after = rest.split(END)
    page.write_text(before + START + gates() + realism() + speed() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
