"""Images without their black letterbox bars, so that skin and tissue line up from image to image.

Bars carry no tissue, differ from image to image and would be mixed into ghosts; the generator
works on the filled square, and each generated image is put back into the frame of a TRAIN image.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.errors import InputError

# Bilinear made real images so soft on their way through `fill` and `refit` that they were farther
# from TRAIN than its halves are apart (KID at 64 px, docs/results/frames-busi.json).
INTERPOLATION = "bicubic"
LEAST_SHARE = 0.25  # narrower contents are taken for dark images, not for bars


def with_masks(images: LabelledImages, masks: bool) -> Tensor:
    """(N, C, S, S) uint8: the pixels, and on request the lesion masks as a second channel.

    Raises:
        InputError: an image has no mask file.
    """
    if not masks:
        return images.pixels
    outlines = images.known_outlines()
    if not bool(outlines.known.all()):
        raise InputError(
            f"Expected every TRAIN image to have a mask file for `gan.synthesize_masks`, but "
            f"{int((~outlines.known).sum())} of {len(images)} have none (an empty mask says that "
            "there is no lesion)."
        )
    return torch.cat([images.pixels, outlines.masks], 1)


def find_frames(pixels: Tensor) -> Tensor:
    """The part between the symmetric black bars of a letterbox.

    Args:
        pixels: (N, C, S, S) uint8.

    Returns:
        (N, 4) int64: top, bottom, left, right; rows top:bottom and columns left:right are content.
    """
    bright = pixels[:, 0] > 0
    top, bottom = _span(bright.any(2))
    left, right = _span(bright.any(1))
    return torch.stack([top, bottom, left, right], 1)


def _span(content: Tensor) -> tuple[Tensor, Tensor]:
    """First content line and the line after the last one, widened to be symmetric."""
    side = content.shape[1]
    first = content.long().argmax(1)
    after = content.long().flip(1).argmax(1)
    bar = torch.minimum(first, after)
    odd = (torch.maximum(first, after) - bar == 1) & (bar > 0)
    extra_first, extra_after = odd & (first > after), odd & (after > first)
    narrow = (side - 2 * bar < LEAST_SHARE * side) | ~content.any(1)
    bar = torch.where(narrow, 0, bar)
    start = bar + (extra_first & ~narrow).long()
    end = side - bar - (extra_after & ~narrow).long()
    return start, end


def fill(pixels: Tensor, frames: Tensor) -> Tensor:
    """Stretch each image's content over the square: (N, C, S, S) uint8 → float32 in [-1, 1]."""
    unit, side = to_unit(pixels), pixels.shape[-1]
    out = torch.empty_like(unit)
    for i, (a, b, c, d) in enumerate(frames.tolist()):
        out[i : i + 1] = resize(unit[i : i + 1, :, a:b, c:d], side, side)
    return out.clamp(-1, 1)


def refit(images: Tensor, frames: Tensor) -> Tensor:
    """The inverse of `fill`: squeeze each square into its frame, with black bars around.

    Both images are (N, C, S, S) float32 in [-1, 1].
    """
    out = torch.full_like(images, -1.0)
    for i, (a, b, c, d) in enumerate(frames.tolist()):
        out[i : i + 1, :, a:b, c:d] = resize(images[i : i + 1], b - a, d - c)
    return out.clamp(-1, 1)


def resize(image: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) to another size by `INTERPOLATION`, antialiased; unchanged if it fits."""
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(
        image, size=(height, width), mode=INTERPOLATION, antialias=True, align_corners=False
    )
