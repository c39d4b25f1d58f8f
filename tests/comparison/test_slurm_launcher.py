"""The launcher for Slurm does what it says, with stand-ins for the programs of the cluster."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

LAUNCHER = Path(__file__).parents[2] / "examples" / "slurm_benchmark.sh"
NOTE = 'echo "$(basename "$0") $* at ${RAY_ADDRESS:-none}" >> "$LOG"'
STAND_INS = {
    "scontrol": "printf 'n1\\nn2\\nn3\\n'",
    "srun": 'while [[ $1 == --* ]]; do shift; done; exec "$@"',
    "hostname": "echo 10.0.0.1 10.0.0.2",
    "ray": NOTE,
    "sleep": "true",
    "sonobalance": NOTE,
}


def test_one_head_a_worker_for_each_further_node_and_one_driver(tmp_path: Path) -> None:
    bash, programs = shutil.which("bash"), tmp_path / "bin"
    assert bash
    programs.mkdir()
    for name, does in STAND_INS.items():
        (programs / name).write_text(f"#!{bash}\n{does}\n")
        (programs / name).chmod(0o755)
    log = tmp_path / "log"
    environment = {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "LOG": str(log),
        "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_CPUS_PER_TASK": "8",
    }  # fmt: skip
    words = [bash, str(LAUNCHER), "/data/my set", "/scratch/out", "--folds", "5"]
    subprocess.run(words, check=True, env=environment)
    until = time.monotonic() + 60
    while len(told := sorted(log.read_text().splitlines())) < 4 and time.monotonic() < until:
        time.sleep(0.05)  # nobody waits for the programs in the background
    join = "ray start --address=10.0.0.1:6379 --num-cpus=8 --block at none"
    assert told == [
        join, join,
        "ray start --head --node-ip-address=10.0.0.1 --port=6379 --num-cpus=8 "
        "--include-dashboard=false --block at none",
        "sonobalance benchmark /data/my set --out /scratch/out --executor ray --unit-cpus 2 "
        "--folds 5 at 10.0.0.1:6379",
    ]  # fmt: skip
