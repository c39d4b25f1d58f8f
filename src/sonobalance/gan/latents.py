"""The data-anchored latent space: a latent is a known mixture of known TRAIN images.

The idea of starting from an autoencoder is BAGAN's (Mariani et al. 2018, arXiv:1803.09655); here
each class's latents are Dirichlet mixtures of a few of its TRAIN latents, plus noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sonobalance.gan.networks import Encoder, unit_rms

ENCODE_BATCH = 32


@dataclass(frozen=True)
class Draws:
    """The random numbers of N latents, independent of any data.

    Attributes:
        rows: (N, k) float32 in [0, 1): which parents.
        flips: (N, k) int64, 0 or 1: whether a parent is mirrored.
        weights: (N, k) float32, uniform on the simplex (Dirichlet with all parameters 1).
        offsets: (N, latent_dim) float32, standard normal.
        noise: (N, noise_dim) float32, standard normal: the generator's texture noise.
    """

    rows: Tensor
    flips: Tensor
    weights: Tensor
    offsets: Tensor
    noise: Tensor


def draw(generator: torch.Generator, n: int, k: int, latent_dim: int, noise_dim: int) -> Draws:
    """Draw the random numbers of `n` latents with `k` parents each; on the CPU."""
    rows = torch.rand(n, k, generator=generator)
    flips = torch.randint(2, (n, k), generator=generator)
    exponentials = -torch.rand(n, k, generator=generator).clamp_min(1e-12).log()
    weights = exponentials / exponentials.sum(1, keepdim=True)
    offsets = torch.randn(n, latent_dim, generator=generator)
    noise = torch.randn(n, noise_dim, generator=generator)
    return Draws(rows, flips, weights, offsets, noise)


class ClassRows:
    """Positions of the images of each class, for picking uniformly within a class."""

    def __init__(self, targets: Tensor, classes: int) -> None:
        self._order = torch.argsort(targets, stable=True)
        self._counts = torch.bincount(targets, minlength=classes)
        self._starts = self._counts.cumsum(0) - self._counts

    def pick(self, targets: Tensor, uniform: Tensor) -> Tensor:
        """A position for each `uniform` (N, ...) in [0, 1) within the class `targets` (N,)."""
        shape = (-1,) + (1,) * (uniform.dim() - 1)
        counts, starts = self._counts[targets].view(shape), self._starts[targets].view(shape)
        inside = torch.minimum((uniform * counts).long(), counts - 1)
        return self._order[starts + inside]


@dataclass(frozen=True)
class LatentBank:
    """The latents of the TRAIN images.

    Attributes:
        latents: (N, 2, latent_dim) float32 of unit RMS: as they are, and mirrored.
        targets: (N,) int64.
        frames: (N, 4) int64, see `framing.find_frames`.
    """

    latents: Tensor
    targets: Tensor
    frames: Tensor

    def mix(self, parents: Tensor, draws: Draws, noise: float) -> Tensor:
        """Latents (M, latent_dim) of unit RMS: the parents' mixture plus `noise` × normal."""
        chosen = self.latents[parents, draws.flips]
        mixed = (chosen * draws.weights.unsqueeze(2)).sum(1)
        return unit_rms(unit_rms(mixed) + noise * draws.offsets)

    def frame_of(self, parents: Tensor, weights: Tensor) -> Tensor:
        """(M, 4) int64: the frame of each mixture's heaviest parent."""
        return self.frames[parents.gather(1, weights.argmax(1, keepdim=True)).squeeze(1)]


@torch.no_grad()
def encode_bank(
    encoder: Encoder, images: Tensor, targets: Tensor, frames: Tensor, device: torch.device
) -> LatentBank:
    """Encode every filled TRAIN image (N, C, S, S) in [-1, 1], as it is and mirrored."""
    encoder.eval()
    rows = []
    for part in images.split(ENCODE_BATCH):
        both = [encoder(x.to(device)).cpu() for x in (part, part.flip(3))]
        rows.append(torch.stack(both, 1))
    return LatentBank(torch.cat(rows), targets, frames)
