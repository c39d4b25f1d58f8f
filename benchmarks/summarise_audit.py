"""Write the figures of an audit, without images and ids, for docs/results/.

python benchmarks/summarise_audit.py RUN docs/results/audit-busbra.json "the command"
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from sonobalance.environment import environment
from sonobalance.files import read_json, write_json

BLOCKS = ("summary", "shortcuts", "marks", "sensitivity")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("command", help="what made the run")
    given = parser.parse_args()
    audit, run = read_json(given.run / "audit.json"), read_json(given.run / "run.json")
    write_json(
        given.out,
        {
            "command": given.command,
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
    print(given.out)
