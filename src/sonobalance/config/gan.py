"""Settings of the generator, its discriminators and their game."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from sonobalance.config.section import Section

Objective = Literal["d2gan", "real_class", "single"]


class GanSettings(Section):
    """The class-conditional generator and its discriminators."""

    objective: Objective = Field(
        "d2gan",
        description="`d2gan`: coverage and fidelity (Nguyen 2017); `real_class`: realism and class "
        "(Hou 2022); `single`: one discriminator, hinge.",
    )
    image_size_px: Literal[32, 64, 128, 256] = Field(64, description="Side of generated images.")
    base_channels: int = Field(16, ge=4, le=256, description="Channels at the finest resolution.")
    latent_dim: int = Field(128, ge=8, le=1024, description="Length of the latent vector.")
    batch_size: int = Field(16, ge=2, le=1024, description="Images per step.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Of convolutions in training; `auto`: bfloat16 where it is fast."
    )
    autoencoder_kimg: float = Field(
        16.0, ge=0, description="Thousand images shown in the autoencoder warm-up."
    )
    total_kimg: float = Field(
        48.0, gt=0, description="Thousand real images shown in the adversarial phase."
    )
    autoencoder_lr: float = Field(1e-3, gt=0, lt=1, description="Adam learning rate, warm-up.")
    generator_lr: float = Field(3e-4, gt=0, lt=1, description="Adam learning rate of G.")
    discriminator_lr: float = Field(1e-3, gt=0, lt=1, description="Adam learning rate of D1, D2.")
    alpha: float = Field(1.0, gt=0, le=10, description="Weight of KL(p‖q), coverage (d2gan).")
    beta: float = Field(1.0, gt=0, le=10, description="Weight of KL(q‖p), fidelity (d2gan).")
    anchor_weight: float = Field(
        0.1, ge=0, description="Weight of the reconstruction anchor against collapse."
    )
    anchor_share: float = Field(
        0.25, ge=0, le=1, description="Share of each batch that reconstructs real images."
    )
    devices: int = Field(
        1,
        ge=1,
        description="Devices of each machine that share every batch of `train-gan`; what later "
        "rounds of the synthesis train is trained on one.",
    )
    nodes: int = Field(
        1,
        ge=1,
        description="Machines; start `train-gan` on each, on a shared folder, with MASTER_ADDR, "
        "MASTER_PORT and NODE_RANK set.",
    )
    init: Path | None = Field(
        None, description="Run, GAN folder or snapshot of another set to start from."
    )
    feature_branch: bool = Field(
        True,
        description="Show frozen features of `classifier.backbone` to D1 and D2 (R of "
        "`real_class`, D of `single`) where `classifier.weights` is given.",
    )
    synthesize_masks: bool = Field(
        False,
        description="Make a lesion mask with each image; each TRAIN image needs a mask file.",
    )
    perceptual_weight: float = Field(
        0.3, ge=0, description="Weight of frozen features in the warm-up's reconstruction."
    )
    held_back: float = Field(
        0.12, ge=0, lt=0.5,
        description="Share of TRAIN, by whole groups, kept from the GAN for measuring it.",
    )  # fmt: skip
    patience_kimg: float = Field(
        24.0, gt=0, description="Stop after this many thousand images without a better KID."
    )
    parents: int = Field(2, ge=1, le=16, description="TRAIN images whose latents are mixed.")
    latent_noise: float = Field(
        0.2, ge=0, le=2, description="Standard deviation of the noise added to a unit-RMS latent."
    )
    augment_probability: float = Field(
        0.6, ge=0, le=1, description="Chance of each differentiable augmentation, at the start."
    )
    augment_target: float = Field(
        0.6, ge=0, le=1,
        description="Mean sign of log r on TRAIN images, by the first discriminator, that the"
        " chance of augmentation is steered to; 0 keeps the chance fixed.",
    )  # fmt: skip
    fade_kimg: float = Field(
        2.0, ge=0, description="Thousand images until the discriminators weigh the class fully."
    )
    r1_weight: float = Field(
        0.01,
        ge=0,
        description="Weight of the R1 gradient penalty, as a share of alpha or beta (else of 1).",
    )
    r1_interval: int = Field(16, ge=1, description="Steps between two gradient penalties.")
    ema_halflife_kimg: float = Field(1.0, gt=0, description="Half-life of the averaged generator.")
    snapshot_kimg: float = Field(2.0, gt=0, description="Checkpoint, grid and log interval.")
    collapse_fraction: float = Field(
        0.35, ge=0, le=1, description="Least diversity of a class as a fraction of the real one."
    )
    repetition_limit: float = Field(
        0.5, ge=0, le=1, description="Most of the fine detail that all images may have in common."
    )
    collapse_ticks: int = Field(
        3,
        ge=1,
        description="Snapshots in a row beyond either limit, or with nothing left to learn, that"
        " stop the training; as many with one discriminator idle give a warning.",
    )

    @field_validator("image_size_px", mode="before")
    @classmethod
    def _from_text(cls, value: object) -> object:
        """The command line gives text."""
        return int(value) if isinstance(value, str) and value.isdigit() else value

    @property
    def channels(self) -> int:
        """Of the images that the networks work on: 2 with a mask, else 1."""
        return 1 + self.synthesize_masks

    @property
    def tick_steps(self) -> int:
        """Steps between two snapshots."""
        return max(1, round(self.snapshot_kimg * 1000 / self.batch_size))

    @property
    def tick_kimg(self) -> float:
        """Thousand images between two snapshots: `snapshot_kimg` in whole batches."""
        return self.tick_steps * self.batch_size / 1000

    def ticks(self, kimg: float) -> int:
        """Snapshots until at least so many thousand images were seen."""
        return math.ceil(kimg / self.tick_kimg - 1e-6)
