"""How alike two images are up to mirroring, shifts, a crop, tone, blur, noise and letterbox bars.

An image is reduced to 32 x 32 maps: band-passed and divided by its local contrast, as it is and
with its bars cut off, whole and magnified. The likeness of two images is the largest normalised
cross-correlation (Lewis 1995) of the centre of one with the windows of the other, over both
mirrors, shifts of up to 12.5 % of the side and magnifications up to 1/0.8.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sonobalance.gan.framing import fill, find_frames
from sonobalance.progress import track

SIDE = 32  # all images are compared at this side, pixels
REACH = 4  # largest shift at that side, pixels
MAGNIFICATIONS = (1.0, 1 / 0.95, 1 / 0.9, 1 / 0.85, 1 / 0.8)
FINE, COARSE = 0.8, 3.0  # standard deviations of the band-pass, pixels at SIDE
FLOOR = 0.02  # local contrast below this is noise, share of the grey range
DARK = 8.0  # lines with a lower mean grey value are bars; noise on black stays below
_WINDOW = SIDE - 2 * REACH
_SHIFTS = 2 * REACH + 1


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
        (N, M) float32 in [-1, 1]; 1 for a copy, about 0.4 to 0.8 for unrelated ultrasound images.
    """
    return compare(
        describe(with_and_without_bars(queries)), describe(with_and_without_bars(references)),
        device, title,
    )  # fmt: skip


def with_and_without_bars(pixels: Tensor) -> list[Tensor]:
    """Images (N, 1, S, S) uint8 in two forms: as they are, and with their bars cut off."""
    return [pixels, without_bars(pixels)]


def without_bars(pixels: Tensor) -> Tensor:
    """Images (N, 1, S, S) uint8 whose content is stretched over the square."""
    grey = pixels[:, 0].float()
    rows, columns = grey.mean(2) > DARK, grey.mean(1) > DARK
    content = (rows[:, None, :, None] & columns[:, None, None, :]).to(torch.uint8)
    return ((fill(pixels, find_frames(content)) + 1) * 127.5).round().to(torch.uint8)


def describe(forms: Sequence[Tensor]) -> Tensor:
    """The maps by which images are compared.

    Args:
        forms: versions of the same N images, each (N, 1, S, S) uint8.

    Returns:
        (N, forms, magnifications, SIDE, SIDE) float16.
    """
    maps = [
        torch.stack([_normalised(_enlarged(form, m)).half() for m in MAGNIFICATIONS], 1)
        for form in forms
    ]
    return torch.stack(maps, 1)


def compare(
    queries: Tensor, references: Tensor, device: torch.device | str = "cpu", title: str = ""
) -> Tensor:
    """Likeness (N, M) of maps (N, F, G, SIDE, SIDE) to maps (M, F, G, SIDE, SIDE), form by form.

    Of the queries only the whole images are used, of the references also the magnified ones.
    """
    best = torch.full((len(queries), len(references)), -1.0, device=device)
    if best.numel() == 0:
        return best.cpu()
    centre = slice(REACH, REACH + _WINDOW)
    number = references.shape[1] * references.shape[2] * 2 * _SHIFTS
    steps = _windows(references.to(device))
    templates = [
        _unit(queries[:, f, 0, centre, centre].float().to(device)) for f in range(queries.shape[1])
    ]
    for form, window in track(steps, title, number) if title else steps:
        found = templates[form] @ _unit(window).T
        torch.maximum(best, found.unflatten(1, (_SHIFTS, len(references))).amax(1), out=best)
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


def _windows(references: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Every form, magnification, mirror and vertical shift of the M references.

    Each is the number of the form and (shifts * M, w, w): all horizontal shifts, by shift.
    """
    for form in range(references.shape[1]):
        for magnified in range(references.shape[2]):
            maps = references[:, form, magnified].float()
            for side in (maps, maps.flip(2)):
                for top in range(_SHIFTS):
                    rows = side[:, top : top + _WINDOW].unfold(2, _WINDOW, 1)
                    yield form, rows.permute(2, 0, 1, 3).flatten(0, 1)


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
