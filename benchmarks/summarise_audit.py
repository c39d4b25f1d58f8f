"""Write the figures of an audit, without images and ids, for docs/results/.

python benchmarks/summarise_audit.py RUN docs/results/audit-busbra.json "the command"
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from sonobalance.environment import environment
from sonobalance.files import read_json, write_json

BLOCKS = ("summary", "shortcuts", "marks", "sensitivity")

if __name__ == "__main__":
    folder, target, told = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    audit, run = read_json(folder / "audit.json"), read_json(folder / "run.json")
    write_json(
        target,
        {
            "command": told,
            "data": run["name"],
            "environment": environment(),
            "seconds": run["stages"]["audit"]["seconds"],
            "processor_seconds": run["stages"]["audit"].get("processor_seconds"),
            "peak_memory_mib": run["stages"]["audit"]["peak_memory_mib"],
            "settings": run["settings"]["audit"],
            "kinds_of_findings": Counter(finding["kind"] for finding in audit["findings"]),
            "kinds_of_pairs": Counter(pair["kind"] for pair in audit.get("pairs", [])),
            **{name: audit[name] for name in BLOCKS if name in audit},
        },
    )
    print(target)
