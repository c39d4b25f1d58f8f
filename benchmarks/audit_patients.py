"""Near-duplicates on a set whose patients are known but not told: are strangers joined?

    python benchmarks/audit_patients.py BUSBRA --out docs/results/audit-patients.json

The audit sees the images without their patients. Whom it joins is then compared with the patients:
a pair within one patient is right, a pair across patients is wrong unless the set lists one patient
twice. No threshold was fitted to this set.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

from sonobalance.config import AuditSettings, DataSettings
from sonobalance.data.audit import audit
from sonobalance.data.sources import index_folder
from sonobalance.environment import environment
from sonobalance.files import write_json

THRESHOLDS = (0.2, 0.5, 0.8, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--patients", type=int, default=0, help="the first so many; 0 for all")
    given = parser.parse_args()
    manifest, _ = index_folder(given.source, DataSettings())
    known = sorted({r.patient for r in manifest})[: given.patients or None]
    manifest = manifest.select(r.id for r in manifest if r.patient in set(known))
    patient = {r.id: r.patient for r in manifest}
    blind = replace(manifest, records=tuple(replace(r, patient="") for r in manifest))
    settings = AuditSettings()
    found = audit(blind, settings)
    pairs = [*found.pairs, *found.weaker]
    result = {
        "command": f"python benchmarks/audit_patients.py {given.source.name} --out {given.out} "
        f"--patients {given.patients}",
        "data": f"{given.source.name}, {len(manifest)} images of {len(known)} patients",
        "environment": environment(),
        "settings": settings.model_dump(mode="json"),
        "pairs_within_a_patient_in_all": sum(
            n * (n - 1) // 2 for n in Counter(patient.values()).values()
        ),
        "at_threshold": {
            str(threshold): dict(
                Counter(
                    "within a patient" if patient[p.a] == patient[p.b] else "across patients"
                    for p in pairs
                    if p.score >= threshold
                )
            )
            for threshold in THRESHOLDS
        },
        "across_patients": [
            {"ids": [p.a, p.b], "score": round(p.score, 3), "kind": p.kind}
            for p in found.pairs
            if patient[p.a] != patient[p.b]
        ],
    }
    write_json(given.out, result)
    sys.stdout.write(given.out.read_text())


if __name__ == "__main__":
    main()
