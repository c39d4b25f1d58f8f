"""Synthetic images as large as a classifier sees them, with the edges that resampling leaves out.

A generator's side is mostly smaller than a classifier's. Resampled images differ from all real ones
by their softness, which the classifier takes for a trait of the class that they fill up. How edges
and speckle continue at the larger side is learnt from the real TRAIN images of all classes, shrunk
and whole.

Residual convolutions without batch norm (Lim et al., EDSR, CVPRW 2017) at half the larger side,
shuffled into pixels (Shi et al., ESPCN, CVPR 2016), add to the bicubic enlargement. The loss is
|x − y| + mean over levels l of |φ_l(x) − φ_l(y)| / |φ_l(y)|, L1 means over pixels and over frozen
features φ (Johnson et al., ECCV 2016, eq. 2, with L1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sonobalance.data.loading import LabelledImages, to_pixels, to_unit
from sonobalance.errors import InputError
from sonobalance.gan.framing import resize
from sonobalance.progress import console, track
from sonobalance.randomness import seed_torch, torch_generator
from sonobalance.state import load_state, save_state

Look = Callable[[Tensor], list[Tensor]]  # images (N, 1, S, S) in [-1, 1] → frozen feature maps
ENLARGER = "enlarger.safetensors"  # of a synthesis and of its bundle
WIDTH, BLOCKS = 32, 3
BATCH = 8
PEAK_LRS = (1e-3, 2e-4)  # the second where the first led nowhere
GREATEST_GRADIENT = 1.0  # norm of one step's
JUDGED = 64  # pairs


class Enlarger(nn.Module):
    """Images of one side to a larger one.

    Args:
        small: side of what comes in.
        large: side of what goes out.
        name: changes with what it was learnt from.
    """

    def __init__(self, small: int, large: int, name: str = "") -> None:
        super().__init__()
        self.small, self.large, self.name = small, large, name
        self.entry = nn.Conv2d(4, WIDTH, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            )
            for _ in range(BLOCKS)
        )
        self.exit = nn.Conv2d(WIDTH, 4, 3, padding=1)
        nn.init.zeros_(self.exit.weight)
        nn.init.zeros_(self.exit.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, small, small) in [-1, 1] → (N, 1, large, large), a little beyond; float32."""
        even = self.large + self.large % 2
        rough = resize(images, even, even)
        x = F.pixel_unshuffle(rough, 2).contiguous(memory_format=torch.channels_last)
        x = self.entry(x)
        for block in self.blocks:
            x = x + block(x)
        sharp = rough + F.pixel_shuffle(self.exit(F.leaky_relu(x, 0.2)), 2)
        return resize(sharp, self.large, self.large)


def learn_enlarger(
    small: LabelledImages,
    large: LabelledImages,
    look: Look,
    *,
    kimg: float,
    seed: int,
    name: str = "",
    device: torch.device | str = "cpu",
) -> Enlarger | None:
    """Learn from pairs of real images.

    If the result is no nearer to TRAIN than bicubic resampling, it is learnt once more at a lower
    rate and then given up, with a message.

    Args:
        small: N real images at the generator's side.
        large: the same in the same order at the classifier's side.
        look: frozen feature maps that the result should have too.
        kimg: thousand pairs to learn from, mirrored at random.
        seed: of weights and order.
        name: of the result.
        device: where it learns.

    Returns:
        None where plain resampling is no worse.
    """
    sides = small.pixels.shape[-1], large.pixels.shape[-1]
    resampled = _distance(Enlarger(*sides).to(device), small, large, look)
    for peak in PEAK_LRS:
        seed_torch(seed, "enlarger")
        enlarger = Enlarger(*sides, name).to(device)
        _train(enlarger, small, large, look, kimg=kimg, seed=seed, peak=peak)
        if _distance(enlarger.eval(), small, large, look) < resampled:
            return enlarger
        console.print(f"Learnt at a rate of {peak:g}, an enlarger was no better.", style="yellow")
    console.print("Synthetic images are resampled instead of enlarged.", style="yellow")
    return None


def _train(
    enlarger: Enlarger,
    small: LabelledImages,
    large: LabelledImages,
    look: Look,
    *,
    kimg: float,
    seed: int,
    peak: float,
) -> None:
    device = next(enlarger.parameters()).device
    steps = max(1, math.ceil(1000 * kimg / BATCH))
    optimiser = torch.optim.Adam(enlarger.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak, total_steps=steps)
    random = torch_generator(seed, "enlarger", "order")
    for _ in track(range(steps), "enlarger", steps):
        rows = torch.randint(len(small), (BATCH,), generator=random)
        flip = [3] if torch.rand((), generator=random) < 0.5 else []
        given, wanted = (
            to_unit(images.pixels[rows].flip(flip).to(device)) for images in (small, large)
        )
        loss = _unlike(look, enlarger(given), wanted)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(enlarger.parameters(), GREATEST_GRADIENT)
        optimiser.step()
        rate.step()


@torch.no_grad()
def _distance(
    enlarger: Enlarger, small: LabelledImages, large: LabelledImages, look: Look
) -> float:
    """The loss on at most `JUDGED` of the pairs, within the range of images."""
    device = next(enlarger.parameters()).device
    rows = torch.linspace(0, len(small) - 1, min(len(small), JUDGED)).long()
    parts = [
        _unlike(
            look,
            enlarger(to_unit(small.pixels[part].to(device))).clamp(-1, 1),
            to_unit(large.pixels[part].to(device)),
        )
        for part in rows.split(BATCH)
    ]
    return float(torch.stack(parts).mean())


def enlarged(images: LabelledImages, enlarger: Enlarger, batch_size: int = 32) -> LabelledImages:
    """The images at the larger side; each depends on itself alone."""
    return replace(images, pixels=enlarged_pixels(images.pixels, enlarger, batch_size))


def enlarged_pixels(pixels: Tensor, enlarger: Enlarger, batch_size: int = 32) -> Tensor:
    """(N, 1, small, small) → (N, 1, large, large), both uint8."""
    device = next(enlarger.parameters()).device
    parts = pixels.split(batch_size) if len(pixels) else ()
    with torch.inference_mode():
        made = [to_pixels(enlarger(to_unit(part.to(device)))).cpu() for part in parts]
    return torch.cat([pixels.new_zeros((0, 1, enlarger.large, enlarger.large)), *made])


def save_enlarger(path: Path, enlarger: Enlarger) -> None:
    """Write it atomically as safetensors."""
    facts = {"small": enlarger.small, "large": enlarger.large, "name": enlarger.name}
    save_state(path, facts | {"weights": enlarger.state_dict()})


def load_enlarger(path: Path, device: torch.device | str = "cpu") -> Enlarger:
    """Read it.

    Raises:
        InputError: the file is missing or damaged.
    """
    state = load_state(path)
    try:
        enlarger = Enlarger(state["small"], state["large"], state["name"])
        enlarger.load_state_dict(state["weights"])
    except (KeyError, TypeError, RuntimeError):
        raise InputError(
            f"Expected an enlarger of synthetic images in {path}, but it holds something else; "
            "remove the folder it lies in and make it again."
        ) from None
    return enlarger.to(device).eval()


def _unlike(look: Look, made: Tensor, wanted: Tensor) -> Tensor:
    """The loss: of pixels and of frozen features."""
    with torch.no_grad():
        targets = look(wanted)
    pairs = zip(look(made), targets, strict=True)
    levels = torch.stack([(a - b).abs().mean() / b.abs().mean() for a, b in pairs])
    return (made - wanted).abs().mean() + levels.mean()
