"""Write the thirty-minute table of `docs/gan-notes.md` from `gan-quality-busi-30.json`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

DOCS = Path(__file__).parent
START, END = "<!-- quality -->\n", "<!-- /quality -->"
CLASSES = ("benign", "malignant", "normal")
HEAD = (
    "| method | seed | thousand images, best at | KID benign / malignant / normal | the same, "
    "second network | mean | mean to images held back | density | coverage | probe AUC |\n"
    + "|---" * 10
    + "|\n"
)


def values(network: dict, key: str) -> list[float]:
    return [network["classes"][name][key] for name in CLASSES]


def distances(network: dict) -> str:
    pairs = zip(values(network, "kid"), values(network, "kid_std"), strict=True)
    return " / ".join(f"{short(kid)} ± {short(spread)}" for kid, spread in pairs)


def short(value: float) -> str:
    return f"{value:.2f}".removeprefix("0") if value < 5 else f"{value:.1f}"


def mean_of(network: dict, key: str = "kid") -> str:
    if key not in network["classes"][CLASSES[0]]:
        return ""
    mean = sum(values(network, key)) / len(CLASSES)
    return f"{mean:.3f}".removeprefix("0") if mean < 5 else f"{mean:.1f}"


def shares(network: dict, key: str) -> str:
    return " / ".join(f"{value:.2f}" for value in values(network, key))


def line(method: str, seed: str, seen: str, features: dict) -> str:
    first, second = features.values()
    cells = [
        method, seed, seen, distances(first), distances(second),
        f"{mean_of(first)}, {mean_of(second)}",
        ", ".join(filter(None, (mean_of(n, "kid_held_back") for n in (first, second)))),
        shares(first, "density"),
        shares(first, "coverage"), f"{first['probe_auc']:.3f}".removeprefix("0"),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |\n"


def apart(seed: str, networks: dict) -> str:
    """How far the images learnt from with this seed are from those held back."""
    means = [sum(classes[name] for name in CLASSES) / len(CLASSES) for classes in networks.values()]
    shown = ", ".join(f"{mean:.3f}".removeprefix("0") for mean in means)
    return f"| learnt against held back | {seed} |" + " |" * 4 + f" {shown} |" + " |" * 3 + "\n"


def seen(row: dict) -> str:
    if "best_kimg" not in row:
        return f"{sum(row['kimg'].values()):.1f} in all"  # a network for each class
    return f"{row['kimg']:.0f}, {row['best_kimg']:.0f}"


def table() -> str:
    path = DOCS / "results" / "gan-quality-busi-30.json"
    found = json.loads(path.read_text(encoding="utf-8"))
    rows = sorted(found["rows"], key=lambda row: (row["method"] != "d2gan", "-" in row["method"]))
    return (
        HEAD
        + line("real against real", "", "", found["real_versus_real"])
        + "".join(apart(*item) for item in found["learnt_versus_held_back"].items())
        + "".join(
            line(f"`{row['method']}`", str(row["seed"]), seen(row), row["features"]) for row in rows
        )
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    page = DOCS / "gan-notes.md"
    before, rest = page.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    page.write_text(before + START + table() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
