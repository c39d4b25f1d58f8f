"""How right the near-duplicates of BUSI are, against pairs judged by eye.

    sonobalance audit Dataset_BUSI_with_GT --out RUN
    python benchmarks/judged_pairs.py RUN docs/results/pairs-judged.json

`busi_pairs_judged.csv` holds ids and verdicts by eye, not by an expert: the 220 pairs
that the first look ranks around the threshold (ranks 200 to 419), 28 drawn at random from the 200
above, and pairs found by the likeness of an ImageNet network that share no local feature. A pair is
`same` when both show one picture or lesion. The closer look was fitted to the ranked pairs, so that
the figures say how well it follows this reader, not how well it would follow another one.
"""

from __future__ import annotations

import argparse
import csv
from collections import Counter
from pathlib import Path

from sonobalance.environment import environment
from sonobalance.files import read_json, write_json

JUDGED = Path(__file__).parent / "busi_pairs_judged.csv"


def rows(path: Path) -> list[dict[str, str]]:
    """A CSV as dictionaries."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def measured(judged: list[dict[str, str]], together: set[frozenset[str]]) -> dict[str, object]:
    """Precision and recall of the pairs that stand in one group among judged ones."""
    kept = [row for row in judged if frozenset((row["a"], row["b"])) in together]
    found = Counter(row["verdict"] for row in kept)
    same = sum(row["verdict"] == "same" for row in judged)
    sure = found["same"] + found["different"]
    wrong = [[row["a"], row["b"]] for row in kept if row["verdict"] == "different"]
    return {
        "judged": len(judged),
        "same": same,
        "grouped": len(kept),
        "precision": round(found["same"] / sure, 4) if sure else None,
        "recall": round(found["same"] / max(1, same), 4),
        "unsure": found["unsure"],
        "wrongly_grouped": wrong,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    folder, target = given.run, given.out
    group = {row["id"]: row["group"] for row in rows(folder / "groups.csv")}
    judged = rows(JUDGED)
    together = {
        frozenset((row["a"], row["b"])) for row in judged if group[row["a"]] == group[row["b"]]
    }
    by_embedding = [row for row in judged if row["rank"] == "embedding"]
    ranked = [row for row in judged if row["rank"] != "embedding"]
    result = {
        "command": f"python benchmarks/judged_pairs.py RUN {target}",
        "data": "BUSI, 780 images; verdicts in benchmarks/busi_pairs_judged.csv",
        "environment": environment(),
        "settings": read_json(folder / "run.json")["settings"]["audit"],
        "sure_pairs": measured([r for r in ranked if int(r["rank"]) < 200], together),
        "borderline_pairs": measured([r for r in ranked if int(r["rank"]) >= 200], together),
        "same_lesion_without_shared_features": measured(by_embedding, together),
    }
    write_json(target, result)
    print(target)
