"""How much of KID is the resampling between letterboxed images and the generator's square.

    python benchmarks/frames.py RUN --weights WEIGHTS --referee REFEREE --out FILE.json

RUN is a folder with the stages index, audit and split done; only its TRAIN part is read. TRAIN's
own images are stretched over the square and put back into their frames, as generated ones are, with
each kind of interpolation; KID of the result to TRAIN is what is left for a generator that draws
perfectly. Beside it KID of TRAIN to itself (below 0: the estimate is unbiased for independent
images, which these are not) and the measure of one half against the other. Features and KID as in
`gan_quality.py`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from gan_quality import Study, arguments_of_study, look, standardised
from torch import Tensor

from sonobalance.data.loading import to_pixels
from sonobalance.environment import environment
from sonobalance.files import write_json
from sonobalance.gan import framing
from sonobalance.synthesis.fidelity import subset_kernel_distance

KINDS = ("none", "bilinear", "bicubic")


def there_and_back(pixels: Tensor, kind: str) -> Tensor:
    """(N, 1, S, S) uint8: contents stretched over the square and squeezed into place again."""
    if kind == "none":
        return pixels
    frames = framing.find_frames(pixels)
    with patch.object(framing, "INTERPOLATION", kind):
        return to_pixels(framing.refit(framing.fill(pixels, frames), frames))


def kid_of(study: Study, kind: str) -> dict[str, Any]:
    """KID per class of TRAIN after the way there and back, in each network's features."""
    seen = look(
        replace(study.images, pixels=there_and_back(study.images.pixels, kind)), study.given
    )
    targets, out = study.images.targets.numpy(), {}
    for name, fake in seen.items():
        real = study.real[name]
        here, back = standardised(real, real), standardised(fake, real)
        by_class = {
            label: subset_kernel_distance(here[targets == k], back[targets == k], 0)[0]
            for k, label in enumerate(study.images.classes)
        }
        out[name] = {"classes": by_class, "mean": float(np.mean([*by_class.values()]))}
    return out


def main() -> None:
    parser = arguments_of_study(__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results/frames-busi.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(given)
    rows = {kind: kid_of(study, kind) for kind in KINDS}
    for kind, row in rows.items():
        print(kind, {name: round(of["mean"], 3) for name, of in row.items()})
    write_json(given.out, {
        "what": __doc__,
        "command": f"python benchmarks/frames.py RUN --weights {given.weights.name}"
        + (f" --referee {given.referee.name}" if given.referee else "")
        + f" --size {given.size}",
        "size": given.size, "kid": rows, "real_versus_real": study.floor(),
        "environment": environment(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
