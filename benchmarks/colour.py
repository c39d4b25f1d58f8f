"""How much of the pictures of a data set is clearly coloured, by which colour is called strange.

    python benchmarks/colour.py FILE.json FOLDER...

Of each FOLDER as `index` takes it: the images, how many have a clearly coloured pixel, and the
largest share of such pixels (`classify.colour`), beside the limit above which one is refused.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from sonobalance.classify.colour import CHROMA, colours_of
from sonobalance.classify.stranger import COLOUR_LIMIT
from sonobalance.config import DataSettings
from sonobalance.data.sources import index_folder
from sonobalance.environment import environment
from sonobalance.files import write_json


def main() -> None:
    target, *folders = map(Path, sys.argv[1:])
    rows = {}
    for folder in folders:
        shares = colours_of(index_folder(folder, DataSettings())[0])
        rows[folder.name] = {
            "images": len(shares), "coloured": int((shares > 0).sum()),
            "largest_share": float(shares.max()), "percentile_99": float(np.quantile(shares, 0.99)),
        }  # fmt: skip
        print(folder.name, rows[folder.name], flush=True)
    names = " ".join(folder.name for folder in folders)
    write_json(target, {
        "what": __doc__,
        "command": f"python benchmarks/colour.py docs/results/{target.name} {names}",
        "limit": COLOUR_LIMIT, "chroma": CHROMA, "sets": rows, "environment": environment(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
