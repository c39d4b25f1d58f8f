"""A walk through the latent space: what lies between the generator's images of one class."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sonobalance.gan.networks import unit_rms
from sonobalance.gan.sampling import Parents, Sampler, Samples
from sonobalance.progress import track


def interpolate(
    sampler: Sampler,
    target: int,
    *,
    seed: int,
    steps: int,
    indices: Tensor,
    truncation: float = 1.0,
    title: str = "generating",
) -> Samples:
    """Images on the way from one latent to the next, `steps` apart.

    Image i lies at the share (i mod steps) / steps between the latents of the images i // steps
    and i // steps + 1 of `sampler.sample` with the same seed; texture noise and frame stay those of
    the first, so that only the latent changes. With steps = 1 these are `sampler.sample`'s images.

    Args:
        sampler: the generator.
        target: class.
        seed: of every draw.
        steps: images from one latent to the next, ≥ 1.
        indices: (N,) int64 of the images to make.
        truncation: factor of the latent noise.
        title: of the progress bar.
    """
    of, made, parents = torch.tensor([target]), [], []
    for place in track(indices.tolist(), title, len(indices)):
        first, share = place // steps, place % steps / steps
        start, end = (
            sampler.drawn(of, seed=seed, index=k, truncation=truncation) for k in (first, first + 1)
        )
        latent = (
            unit_rms((1 - share) * start.latent + share * end.latent) if share else start.latent
        )
        made.append(sampler.decode(replace(start, latent=latent), of))
        parents.append(_mixed(start.parents, end.parents, share))
    return Samples.of(torch.cat(made), parents)


def _mixed(one: Parents, other: Parents, share: float) -> Parents:
    """The parents of a latent between two others."""
    if not share:
        return one
    weights: dict[str, float] = {}
    for parents, part in ((one, 1 - share), (other, share)):
        for name, weight in zip(parents.ids, parents.weights, strict=True):
            weights[name] = weights.get(name, 0.0) + part * weight
    return Parents(tuple(weights), tuple(weights.values()))
