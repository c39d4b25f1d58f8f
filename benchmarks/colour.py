"""How much of the pictures of a data set is clearly coloured, by which colour is called strange.

    python benchmarks/colour.py FILE.json FOLDER...

Of each FOLDER as `index` takes it: the images, how many have a clearly coloured pixel, and the
largest share of such pixels (`classify.colour`), beside the limit above which one is refused.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from sonobalance.classify.colour import CHROMA, colours_of
from sonobalance.classify.stranger import COLOUR_LIMIT
from sonobalance.config import DataSettings
from sonobalance.data.sources import index_folder
from sonobalance.environment import environment
from sonobalance.files import write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    given = parser.parse_args()
    rows = {}
    for folder in given.folders:
        shares = colours_of(index_folder(folder, DataSettings())[0])
        rows[folder.name] = {
            "images": len(shares), "coloured": int((shares > 0).sum()),
            "largest_share": float(shares.max()), "percentile_99": float(np.quantile(shares, 0.99)),
        }  # fmt: skip
        print(folder.name, rows[folder.name], flush=True)
    names = " ".join(folder.name for folder in given.folders)
    write_json(given.out, {
        "what": __doc__,
        "command": f"python benchmarks/colour.py docs/results/{given.out.name} {names}",
        "limit": COLOUR_LIMIT, "chroma": CHROMA, "sets": rows, "environment": environment(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
