"""Reads every file of a folder within limits, then indexes the folder; prints what happened.

Run as `python -W error fuzz_worker.py FOLDER`. A file that takes more than 10 s of processor time,
or blocks for a minute, kills the process; the name of the file stands in the last line.
"""

import json
import signal
import sys
from contextlib import suppress
from pathlib import Path

from sonobalance.config import DataSettings
from sonobalance.data.images import image_shape, read_color, read_gray, read_mask
from sonobalance.data.sources import index_folder
from sonobalance.environment import peak_memory_mib
from sonobalance.errors import InputError

PROCESSOR_SECONDS, BLOCKED_SECONDS = 10, 60


def main(root):
    for path in sorted(root.rglob("*")):
        print(json.dumps({"reading": ascii(path)}), flush=True)
        for read in (read_gray, read_color, image_shape, lambda p: read_mask([p], 40, 48)):
            signal.setitimer(signal.ITIMER_PROF, PROCESSOR_SECONDS)
            signal.setitimer(signal.ITIMER_REAL, BLOCKED_SECONDS)
            with suppress(InputError):
                read(path)
    for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
        signal.setitimer(timer, 0)
    manifest, skipped = index_folder(root, DataSettings())
    manifest.write(root.parent / "manifest.csv")
    peak_mib = peak_memory_mib()
    used = [record.path for record in manifest]
    print(json.dumps({"used": used, "skipped": [s.path for s in skipped], "peak_mib": peak_mib}))


main(Path(sys.argv[1]))
