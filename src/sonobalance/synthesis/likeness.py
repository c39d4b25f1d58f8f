"""How alike two images are up to mirroring, shifts, a crop, tone, blur and noise.

Each image is reduced to 32 x 32, band-passed and divided by its local contrast; the likeness of two
is the largest normalised cross-correlation (Lewis 1995) of the centre of one with the windows of
the other, over both mirrors, shifts of up to 12.5 % of the side and magnifications up to 1/0.9.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.v2.functional import hflip

from sonobalance.progress import track

SIDE = 32  # all images are compared at this side, pixels
REACH = 4  # largest shift at that side, pixels
MAGNIFICATIONS = (1.0, 1 / 0.95, 1 / 0.9)
FINE, COARSE = 0.8, 3.0  # standard deviations of the band-pass, pixels at SIDE
FLOOR = 0.02  # local contrast below this is noise, share of the grey range
_WINDOW = SIDE - 2 * REACH
_SHIFTS = 2 * REACH + 1
_STEPS = 2 * len(MAGNIFICATIONS) * _SHIFTS


def likeness(
    queries: Tensor, references: Tensor, device: torch.device | str = "cpu", title: str = ""
) -> Tensor:
    """Likeness of each query to each reference.

    Args:
        queries: (N, 1, S, S) uint8.
        references: (M, 1, S, S) uint8.
        device: where the correlations are computed.
        title: of a progress bar; none when empty.

    Returns:
        (N, M) float32 in [-1, 1]; 1 for a copy, about 0.5 to 0.8 for unrelated ultrasound images.
    """
    best = torch.full((len(queries), len(references)), -1.0, device=device)
    if best.numel() == 0:
        return best.cpu()
    centre = slice(REACH, REACH + _WINDOW)
    templates = _unit(_normalised(queries.to(device))[..., centre, centre])
    windows = _windows(references.to(device))
    for window in track(windows, title, _STEPS) if title else windows:
        found = (templates @ _unit(window).T).unflatten(1, (_SHIFTS, len(references)))
        torch.maximum(best, found.amax(1), out=best)
    return best.clamp(-1, 1).cpu()


def nearest(table: Tensor) -> tuple[Tensor, Tensor]:
    """Distance 1 - likeness in [0, 1] of each row to its nearest column, and that column.

    Args:
        table: (N, M) likenesses, M ≥ 1.

    Returns:
        (N,) float32 distances and (N,) int64 columns.
    """
    value, column = table.max(1)
    return (1 - value).clamp(0, 1), column


def relative_free(table: Tensor, groups: tuple[str, ...]) -> Tensor:
    """A square table in which images of the same group count as utterly unlike (-1).

    Args:
        table: (N, N) likenesses of images among themselves.
        groups: N keys of relatives.
    """
    numbers = {key: i for i, key in enumerate(dict.fromkeys(groups))}
    index = torch.tensor([numbers[key] for key in groups])
    return table.masked_fill(index[:, None] == index[None, :], -1.0)


def _windows(references: Tensor) -> Iterator[Tensor]:
    """Every mirrored, magnified and vertically shifted row of windows of the M references.

    Each is (shifts * M, w, w): all horizontal shifts of all references, by shift.
    """
    for magnification in MAGNIFICATIONS:
        enlarged = _enlarged(references, magnification)
        for images in (enlarged, hflip(enlarged)):
            normalised = _normalised(images)
            for top in range(_SHIFTS):
                rows = normalised[:, top : top + _WINDOW].unfold(2, _WINDOW, 1)
                yield rows.permute(2, 0, 1, 3).flatten(0, 1)


def _enlarged(images: Tensor, magnification: float) -> Tensor:
    """The central part of (N, 1, S, S) images, enlarged to S again."""
    if magnification == 1:
        return images.float()
    shrink = torch.eye(2, 3, device=images.device) / magnification
    grid = F.affine_grid(shrink.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def _normalised(images: Tensor) -> Tensor:
    """(N, 1, S, S) in [0, 255] → (N, SIDE, SIDE): band-passed, divided by the local contrast."""
    small = F.interpolate(images.float() / 255, size=(SIDE, SIDE), mode="area")
    fine = _blurred(small, FINE)
    band = fine - _blurred(fine, COARSE)
    contrast = _blurred(band**2, COARSE).clamp_min(0).sqrt()
    return (band / (contrast + FLOOR)).squeeze(1)


def _blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (N, 1, SIDE, SIDE) with replicated borders, one matrix per axis."""
    matrix = _blur_matrix(sigma).to(images.device)
    return matrix @ images @ matrix.T


def _blur_matrix(sigma: float) -> Tensor:
    """(SIDE, SIDE): each row the Gaussian weights around a pixel, those outside on the border."""
    reach = math.ceil(3 * sigma)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    matrix = torch.zeros(SIDE, SIDE)
    for i in range(SIDE):
        matrix[i].index_add_(0, (i + offsets).clamp(0, SIDE - 1), weights / weights.sum())
    return matrix


def _unit(windows: Tensor) -> Tensor:
    """(N, w, w) → (N, w²) of zero mean and unit norm; flat windows become 0."""
    flat = windows.flatten(1)
    centred = flat - flat.mean(1, keepdim=True)
    return F.normalize(centred, dim=1, eps=1e-3)
