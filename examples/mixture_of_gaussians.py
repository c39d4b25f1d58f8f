"""Two discriminators against one on a ring of eight Gaussians: which modes does G cover?

    python examples/mixture_of_gaussians.py --out mixture.png --json mixture.json

The same small generator is trained with the d2gan equations and with the hinge loss of a single
discriminator, for the same number of steps. Reported are the modes that hold at least a quarter of
their share, and KL(p‖q) and KL(q‖p) on a grid (Nguyen et al. 2017, section 5.1, as an experiment).
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import matplotlib as mpl
import torch
from torch import Tensor, nn

from sonobalance.environment import environment
from sonobalance.files import atomic, write_json
from sonobalance.gan import losses
from sonobalance.randomness import derive, seed_torch

MODES, RADIUS, SPREAD, BATCH = 8, 2.0, 0.02**0.5, 512
ALPHA, BETA = 0.2, 0.1
ANGLES = torch.arange(MODES) * 2 * math.pi / MODES
CENTRES = RADIUS * torch.stack([ANGLES.cos(), ANGLES.sin()], 1)


def real_points(n: int) -> Tensor:
    """(n, 2) points of the ring."""
    return CENTRES[torch.randint(MODES, (n,))] + SPREAD * torch.randn(n, 2)


def network(inputs: int, outputs: int) -> nn.Sequential:
    """Two hidden layers of 128."""
    return nn.Sequential(
        nn.Linear(inputs, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, outputs)
    )


def judged(objective: str, d: nn.ModuleList, real: Tensor, fake: Tensor) -> Tensor:
    """The discriminators' loss."""
    if objective == "single":
        return losses.hinge_discriminator_loss(d[0](real), d[0](fake))
    return losses.d2gan_coverage_loss(d[0](real), d[0](fake), ALPHA) + losses.d2gan_fidelity_loss(
        d[1](real), d[1](fake), BETA
    )


def deceived(objective: str, d: nn.ModuleList, fake: Tensor) -> Tensor:
    """The generator's loss."""
    if objective == "single":
        return losses.hinge_generator_loss(d[0](fake))
    coverage = losses.d2gan_generator_coverage_loss(d[0](fake))
    return coverage + losses.d2gan_generator_fidelity_loss(d[1](fake), BETA)


def train(objective: str, steps: int, seed: int) -> Tensor:
    """Train, and return 20 000 generated points."""
    seed_torch(seed, "mixture")
    g, d = network(64, 2), nn.ModuleList(network(2, 1) for _ in range(2))
    of_g = torch.optim.Adam(g.parameters(), 2e-4, betas=(0.5, 0.999))
    of_d = torch.optim.Adam(d.parameters(), 2e-4, betas=(0.5, 0.999))
    seed_torch(derive(seed, "steps"))
    for _ in range(steps):
        fake = g(torch.randn(BATCH, 64))
        of_d.zero_grad()
        judged(objective, d, real_points(BATCH), fake.detach()).backward()
        of_d.step()
        of_g.zero_grad()
        deceived(objective, d, fake).backward()
        of_g.step()
    with torch.no_grad():
        return g(torch.randn(20_000, 64))


def coverage(points: Tensor) -> int:
    """Modes with at least a quarter of their share within three standard deviations."""
    near = torch.cdist(points, CENTRES) < 3 * SPREAD
    return int((near.float().mean(0) > 0.25 / MODES).sum())


def divergences(points: Tensor) -> tuple[float, float]:
    """KL(p‖q) and KL(q‖p) in nats, on a 60 × 60 grid over [-3, 3]², one point added per cell."""
    torch.manual_seed(0)
    p, q = (_histogram(x) for x in (real_points(200_000), points))
    return float((p * (p / q).log()).sum()), float((q * (q / p).log()).sum())


def _histogram(points: Tensor) -> Tensor:
    cells = ((points + 3) * 10).long().clamp(0, 59)
    counts = torch.bincount(cells[:, 0] * 60 + cells[:, 1], minlength=3600).double()
    share = counts / counts.sum() * 20_000 + 1
    return share / share.sum()


def main() -> None:
    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("mixture.png"))
    parser.add_argument("--json", type=Path, default=Path("mixture.json"))
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    rows, figure = [], plt.figure(figsize=(9, 3.2))
    for column, objective in enumerate(("d2gan", "single"), start=1):
        for seed in given.seeds:
            points = train(objective, given.steps, seed)
            forward, backward = divergences(points)
            rows.append({
                "objective": objective, "seed": seed, "modes": coverage(points),
                "kl_p_q": forward, "kl_q_p": backward,
            })  # fmt: skip
        axes = figure.add_subplot(1, 2, column, aspect="equal", xlim=(-3, 3), ylim=(-3, 3))
        axes.scatter(*points[:2000].T, s=2, alpha=0.4, label="generated")
        axes.scatter(*CENTRES.T, marker="+", color="black", label="modes")
        axes.set_title(f"{objective}: {rows[-1]['modes']} of {MODES} modes")
    with atomic(given.out) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
    write_json(given.json, {
        "command": "python examples/mixture_of_gaussians.py", "steps": given.steps, "modes": MODES,
        "rows": rows, "environment": environment(),
    })  # fmt: skip


if __name__ == "__main__":
    main()
