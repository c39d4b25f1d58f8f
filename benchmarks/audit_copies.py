"""How many planted copies of each kind the audit finds, and how many strangers it joins.

    python benchmarks/audit_copies.py --out docs/results/audit-copies.json

Every kind of copy in `data.phantoms.copies` is made of `--each` phantoms of different patients; the
set is audited as a user would, twice: pair by pair, and through the shortlist as larger sets are.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from sonobalance.config import AuditSettings, DataSettings
from sonobalance.data.audit import audit
from sonobalance.data.images import write_png
from sonobalance.data.phantoms import KINDS, phantom
from sonobalance.data.phantoms.copies import COPIES
from sonobalance.data.sources import index_folder
from sonobalance.environment import environment
from sonobalance.files import write_json
from sonobalance.randomness import numpy_generator

LESIONS = tuple(kind for kind in KINDS if kind != "normal")  # calipers need something to measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--each", type=int, default=20, help="copies of each kind")
    parser.add_argument("--size-px", type=int, default=256)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder, given.each, given.size_px)
        result = {
            "command": f"python benchmarks/audit_copies.py --out {given.out} --each {given.each} "
            f"--size-px {given.size_px}",
            "data": f"{2 * given.each * len(COPIES)} phantoms of {given.size_px} px, seed 0",
            "environment": environment(),
            "pair_by_pair": measure(folder, AuditSettings()),
            "through_the_shortlist": measure(folder, AuditSettings(exhaustive_up_to=0)),
        }
    write_json(given.out, result)
    sys.stdout.write(given.out.read_text())


def make(folder: Path, each: int, size_px: int) -> None:
    """Write originals `KIND-NUMBER-a.png` and their copies `KIND-NUMBER-b.png` in class folders."""
    for position, (kind, copy) in enumerate(COPIES.items()):
        for number in range(each):
            rng = numpy_generator(0, "copies", kind, number)
            label = LESIONS[(position + number) % len(LESIONS)]
            image, mask = phantom(label, rng, size_px)
            write_png(folder / label / f"{kind}-{number}-a.png", image)
            write_png(folder / label / f"{kind}-{number}-b.png", copy(image, mask, rng)[0])


def measure(folder: Path, settings: AuditSettings) -> dict[str, object]:
    """Share of the copies that stand in the group of their original, and pairs of strangers."""
    manifest, _ = index_folder(folder, DataSettings())
    found = audit(manifest, settings)
    group = {Path(r.path).stem: found.groups[r.id] for r in manifest}
    planted = [name[:-2] for name in group if name.endswith("-a")]
    hit = {name: group[f"{name}-a"] == group[f"{name}-b"] for name in planted}
    recall = {
        kind: sum(hit[name] for name in planted if name.rsplit("-", 1)[0] == kind)
        / sum(name.rsplit("-", 1)[0] == kind for name in planted)
        for kind in COPIES
    }
    strangers = [p for p in found.pairs if Path(p.a).stem[:-2] != Path(p.b).stem[:-2]]
    return {
        "images": len(manifest),
        "recall": {kind: round(value, 4) for kind, value in recall.items()},
        "strangers_joined": len(strangers),
    }


if __name__ == "__main__":
    main()
