"""The PyPI package `lightweight-gan` as a rival: its networks, losses, order of steps, defaults.

Its module refuses to be imported without CUDA although nothing in its networks needs it; the check
is answered during the import, and its networks are kept on the device they are made on. The step is
that of its `Trainer.train` (one image batch, gradient penalty every fourth step, hinge losses on
both outputs, auto-encoding loss), without its dataset, logging and checkpoints. Its average of G
starts after 20 000 steps, so that G itself is used. Defaults of its command line are kept, except
grey images and the batch size.
"""

from __future__ import annotations

import importlib
import random
from types import ModuleType
from unittest import mock

import torch
from torch import Tensor, nn

from sonobalance.randomness import derive, seed_torch

LATENT = 256
AUGMENT = {"prob": 0.3, "types": ["translation", "cutout"]}  # its choice for few images
PENALTY_INTERVAL, PENALTY_WEIGHT = 4, 10


def load() -> ModuleType:
    """The module, importable without CUDA."""
    with mock.patch("torch.cuda.is_available", return_value=True):
        module = importlib.import_module("lightweight_gan.lightweight_gan")
    vars(module)["Blur"] = nn.Identity  # as its trainer does unless asked for antialiasing
    return module


class Rival:
    """One unconditional GAN of the package.

    Args:
        size: side of the images.
        batch_size: images per step.
        seed: of initialisation and augmentation.
        device: where it lives.
    """

    def __init__(self, size: int, batch_size: int, seed: int, device: torch.device) -> None:
        seed_torch(seed, "lightweight-gan")
        random.seed(derive(seed, "lightweight-gan", "augmentation"))
        self.module, self.batch_size, self.device, self.steps = load(), batch_size, device, 0

        class OnDevice(self.module.LightweightGAN):  # type: ignore[name-defined]
            def cuda(self, _rank: int = 0) -> nn.Module:
                return self.to(device)

        self.gan = OnDevice(
            latent_dim=LATENT, image_size=size, greyscale=True, disc_output_size=1,
            attn_res_layers=[32],
        )  # fmt: skip
        self.gan.train()

    def step(self, images: Tensor) -> None:
        """One step of D and one of G on real images (N, 1, S, S) float32 in [0, 1]."""
        gan, module = self.gan, self.module
        penalised = self.steps % PENALTY_INTERVAL == 0
        gan.D_opt.zero_grad()
        with torch.no_grad():
            made = gan.G(self._latents())
        images = images.clone().requires_grad_(penalised)
        made, (fake, fake_small, _) = gan.D_aug(
            made, detach=True, input_requires_grad=penalised, return_discr_input=True, **AUGMENT
        )
        real, real_small, auxiliary = gan.D_aug(images, calc_aux_loss=True, **AUGMENT)
        loss = module.hinge_loss(real, fake) + module.hinge_loss(real_small, fake_small) + auxiliary
        if penalised:
            loss = loss + _penalty([real, real_small], images) + _penalty([fake, fake_small], made)
        loss.backward()
        gan.D_opt.step()

        gan.G_opt.zero_grad()
        fake, fake_small, _ = gan.D_aug(gan.G(self._latents()), **AUGMENT)
        (module.gen_hinge_loss(fake, None) + module.gen_hinge_loss(fake_small, None)).backward()
        gan.G_opt.step()
        self.steps += 1

    @torch.no_grad()
    def generate(self, n: int) -> Tensor:
        """`n` images (n, 1, S, S) float32 in [0, 1] on the CPU."""
        self.gan.G.eval()
        parts = [self.gan.G(self._latents()[:k]).cpu() for k in _batches(n, self.batch_size)]
        self.gan.G.train()
        return torch.cat(parts).clamp(0, 1)

    def _latents(self) -> Tensor:
        return torch.randn(self.batch_size, LATENT).to(self.device)


def _penalty(outputs: list[Tensor], images: Tensor) -> Tensor:
    """Half of the package's penalty: its mean runs over real and generated images together."""
    (gradient,) = torch.autograd.grad(
        outputs, images, [torch.ones_like(x) for x in outputs], create_graph=True
    )
    return PENALTY_WEIGHT / 2 * gradient.flatten(1).norm(2, dim=1).square().mean()


def _batches(n: int, size: int) -> list[int]:
    return [size] * (n // size) + ([n % size] if n % size else [])
