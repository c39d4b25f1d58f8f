"""A walk through the latent space: what lies between the generator's images of one class."""

from __future__ import annotations

import torch
from torch import Tensor

from sonobalance.data.loading import to_pixels
from sonobalance.gan.framing import refit
from sonobalance.gan.latents import ClassRows, draw
from sonobalance.gan.networks import unit_rms
from sonobalance.gan.sampling import Parents, Sampler, Samples
from sonobalance.progress import track
from sonobalance.randomness import torch_generator


@torch.no_grad()
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
    made, parents = [], []
    for place in track(indices.tolist(), title, len(indices)):
        first, share = place // steps, place % steps / steps
        (start, frame, noise, known), (end, _, _, others) = (
            _latent(sampler, target, seed, k, truncation) for k in (first, first + 1)
        )
        latent = unit_rms((1 - share) * start + share * end) if share else start
        targets = torch.tensor([target], device=sampler.device)
        unit = sampler.snapshot.generator(
            latent.to(sampler.device), targets, noise.to(sampler.device)
        )
        made.append(to_pixels(refit(unit.cpu(), frame)))
        parents.append(_mixed(known, others, share))
    return Samples.of(torch.cat(made), parents)


def _latent(
    sampler: Sampler, target: int, seed: int, index: int, truncation: float
) -> tuple[Tensor, Tensor, Tensor, Parents]:
    """Latent, frame, texture noise and parents of the image `index` of `sampler.sample`."""
    snapshot, settings = sampler.snapshot, sampler.snapshot.settings
    draws = draw(
        torch_generator(seed, "sample", index), 1, settings.parents, settings.latent_dim,
        snapshot.generator.noise_dim,
    )  # fmt: skip
    rows = ClassRows(snapshot.bank.targets, len(sampler.classes))
    chosen = rows.pick(torch.tensor([target]), draws.rows)
    latent = snapshot.bank.mix(chosen, draws, settings.latent_noise * truncation)
    ids = tuple(snapshot.ids[k] for k in chosen[0].tolist())
    parents = Parents(ids, tuple(draws.weights[0].tolist()))
    return latent, snapshot.bank.frame_of(chosen, draws.weights), draws.noise, parents


def _mixed(one: Parents, other: Parents, share: float) -> Parents:
    """The parents of a latent between two others."""
    if not share:
        return one
    weights: dict[str, float] = {}
    for parents, part in ((one, 1 - share), (other, share)):
        for name, weight in zip(parents.ids, parents.weights, strict=True):
            weights[name] = weights.get(name, 0.0) + part * weight
    return Parents(tuple(weights), tuple(weights.values()))
