"""A counterfactual strip, experimental: what the generator would change to make it another class.

The image's own latent is not known; the latent of the TRAIN image that the classifier finds most
like it stands in. The generator's style is latent + class vector, so that adding a share of the
difference of two class vectors to the latent moves the picture from its class towards the other,
all else (pose, texture noise) being equal. What changes is what the *generator* learned to be the
difference between the classes; the classifier's probabilities below say whether it agrees.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sonobalance.data.images import Gray
from sonobalance.data.loading import to_pixels, to_unit
from sonobalance.explanation.examples import Likeness
from sonobalance.explanation.maps import probabilities_of
from sonobalance.explanation.study import Study
from sonobalance.gan.framing import refit
from sonobalance.gan.networks import unit_rms
from sonobalance.gan.snapshot import Snapshot

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
GAP_PX = 2


def counterfactual(
    study: Study, i: int, found: Likeness, snapshot: Snapshot
) -> tuple[Gray, dict[str, Any]] | None:
    """The strip of image `i`; None where no TRAIN image of the generator is known.

    Returns:
        (S, 5 S + gaps) uint8, and {"start": id of the TRAIN image, "from", "towards": classes,
        "shares": of the way, "probability": of the class `towards` along the way}.
    """
    row = _nearest_row(found, i, snapshot)
    if row is None:
        return None
    start = int(snapshot.bank.targets[row])
    ranked = np.argsort(-study.probabilities[i], kind="stable")
    towards = int(next(k for k in ranked if k != start))
    pixels = walk(snapshot, row, towards)
    side = study.images.pixels.shape[-1]
    inputs = torch.nn.functional.interpolate(
        to_unit(pixels), size=(side, side), mode="bilinear", align_corners=False, antialias=True
    )
    p = probabilities_of(study.model, inputs, study.settings.batch_size)[:, towards]
    return _side_by_side(pixels), {
        "start": snapshot.ids[row],
        "from": snapshot.classes[start],
        "towards": snapshot.classes[towards],
        "shares": list(SHARES),
        "probability": [round(value, 4) for value in p.tolist()],
    }


@torch.no_grad()
def walk(snapshot: Snapshot, row: int, towards: int) -> torch.Tensor:
    """Pictures (5, 1, S, S) uint8 from the class of the bank's row to another, without noise."""
    generator, bank = snapshot.generator, snapshot.bank
    device = next(generator.parameters()).device
    start = bank.targets[row : row + 1]
    vectors = generator.class_style.weight
    direction = vectors[towards] - vectors[int(start)]
    shares = torch.tensor(SHARES, device=device)[:, None]
    latents = unit_rms(bank.latents[row, :1].to(device)) + shares * direction
    noise = torch.zeros(len(SHARES), generator.noise_dim, device=device)
    unit = generator(latents, start.expand(len(SHARES)).to(device), noise)
    frames = bank.frames[row : row + 1].expand(len(SHARES), -1)
    return to_pixels(refit(unit.cpu(), frames))


def _nearest_row(found: Likeness, i: int, snapshot: Snapshot) -> int | None:
    places = {key: row for row, key in enumerate(snapshot.ids)}
    order: NDArray[np.int64] = np.argsort(-found.real[i], kind="stable")
    keys = (found.known.real.ids[k] for k in order.tolist())
    return next((places[key] for key in keys if key in places), None)


def _side_by_side(pixels: torch.Tensor) -> Gray:
    side = pixels.shape[-1]
    gap = np.full((side, GAP_PX), 255, np.uint8)
    parts: list[Gray] = []
    for picture in pixels[:, 0].numpy():
        parts += [picture, gap]
    strip: Gray = np.hstack(parts[:-1])
    return strip
