"""Evidence maps as transparent PNGs that a page lays over the image."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.data.images import Letterbox, letterbox_of, unletterbox
from sonobalance.data.loading import to_unit
from sonobalance.explanation.inputs import Inputs, inside_of
from sonobalance.explanation.layers import layer_of
from sonobalance.explanation.maps import Cost, cheap_maps
from sonobalance.service.decoding import PREVIEW_PX, Decoded

FOR, AGAINST = (255, 140, 0), (30, 120, 255)  # orange and blue: told apart by every kind of eye


@dataclass(frozen=True)
class Heat:
    """A drawn map: PNG bytes, and the values of its strongest colours."""

    png: bytes
    low: float
    high: float


def maps_of(
    model: AttentiveClassifier, square: NDArray[np.uint8], box: Letterbox, target: int, *,
    mirror: bool,
) -> dict[str, torch.Tensor]:  # fmt: skip
    """Every quick map of one (S, S) uint8 image for a class; name → (1, 1, S, S).

    With `mirror`, the mean with the map of the mirror image, for networks that predict so.
    """
    unit = to_unit(torch.from_numpy(square)[None, None])
    inputs = Inputs(unit, torch.tensor([target]), inside_of([box]))
    return cheap_maps(model, layer_of(model.target_layer), inputs, Cost(1, mirror=mirror))


def drawn(values: torch.Tensor, decoded: Decoded) -> Heat:
    """A (1, 1, S, S) map in the geometry of the preview; opacity is its strength.

    Both signs share one scale, so that weak evidence against never looks like strong evidence for.
    """
    width, height = _preview_size(decoded.width, decoded.height)
    box = letterbox_of(height, width, decoded.square.shape[0])
    grid = unletterbox(values[0, 0].numpy(), box)
    low, high = float(grid.min()), float(grid.max())
    peak = max(abs(low), abs(high), 1e-12)
    out = np.zeros((*grid.shape, 4), np.uint8)
    out[grid >= 0, :3], out[grid < 0, :3] = FOR, AGAINST
    out[..., 3] = np.rint(255 * np.abs(grid) / peak).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(out).save(buffer, "PNG", compress_level=1)
    return Heat(buffer.getvalue(), low, high)


def data_url(png: bytes) -> str:
    """A PNG as a URL that needs no further request."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _preview_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, PREVIEW_PX / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
