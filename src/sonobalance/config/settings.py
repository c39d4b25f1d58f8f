"""Everything a run can be told, and the presets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Group, Parameter
from pydantic import Field, field_validator, model_validator

from sonobalance.config.classifier import ClassifierSettings
from sonobalance.config.data import AuditSettings, DataSettings, SplitSettings
from sonobalance.config.gan import GanSettings
from sonobalance.config.outcome import EvaluationSettings, ExplanationSettings
from sonobalance.config.section import Section
from sonobalance.config.synthesis import SynthesisSettings

Preset = Literal["demo", "cpu", "gpu", "gpu256"]
Arm = Literal[
    "probe", "none", "class-weights", "over-sampling", "focal", "strong-augmentation", "copy-paste",
    "single", "dual-one-shot", "dual-iterative", "real-class",
]  # fmt: skip


def _panel(section: type[Section]) -> Parameter:
    """The settings of a section stand together in `--help`."""
    return Parameter(group=Group.create_ordered(f"Settings: {section.__doc__}"))


class Settings(Section):
    """Everything a run can be told."""

    seed: int = Field(0, ge=0, description="Seed of every random choice.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where tensors live.")
    arms: Annotated[tuple[Arm, ...], Parameter(consume_multiple=True)] = Field(
        (),
        description="What is compared; empty: `none`, `over-sampling` and the synthesis arm of the "
        "GAN objective, and for `benchmark` all but `copy-paste` and `real-class`.",
    )
    clean_marks: bool = Field(
        False,
        description="Paint over burnt-in marks in every image that GAN and classifier read, on"
        " TEST too.",
    )
    data: Annotated[DataSettings, _panel(DataSettings)] = DataSettings()
    audit: Annotated[AuditSettings, _panel(AuditSettings)] = AuditSettings()
    split: Annotated[SplitSettings, _panel(SplitSettings)] = SplitSettings()
    gan: Annotated[GanSettings, _panel(GanSettings)] = GanSettings()
    synthesis: Annotated[SynthesisSettings, _panel(SynthesisSettings)] = SynthesisSettings()
    classifier: Annotated[ClassifierSettings, _panel(ClassifierSettings)] = ClassifierSettings()
    evaluation: Annotated[EvaluationSettings, _panel(EvaluationSettings)] = EvaluationSettings()
    explanation: Annotated[ExplanationSettings, _panel(ExplanationSettings)] = ExplanationSettings()

    @field_validator("arms")
    @classmethod
    def _each_arm_once(cls, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        return tuple(dict.fromkeys(arms))

    @model_validator(mode="after")
    def _masks_are_not_fed_back(self) -> Settings:
        if self.synthesis.feed_back and self.gan.synthesize_masks:
            raise ValueError(
                "synthesis.feed_back and gan.synthesize_masks exclude each other: images that are "
                "fed back come without masks"
            )
        return self


_GPU: dict[str, Any] = {
    "gan": {
        "image_size_px": 128, "batch_size": 32, "base_channels": 48,
        "autoencoder_kimg": 200.0, "total_kimg": 600.0, "snapshot_kimg": 20.0,
        "patience_kimg": 200.0, "fade_kimg": 10.0, "ema_halflife_kimg": 5.0,
    },
    "synthesis": {"gan_kimg_per_round": 20.0},
}  # fmt: skip
PRESETS: dict[str, dict[str, Any]] = {
    "demo": {
        "audit": {"exhaustive_up_to": 0, "shortlist_size": 4},
        "gan": {
            "image_size_px": 32, "base_channels": 16, "latent_dim": 64,
            "autoencoder_kimg": 6.0, "total_kimg": 4.0, "snapshot_kimg": 1.0,
        },
        "classifier": {
            "backbone": "test_resnet", "image_size_px": 64, "batch_size": 8, "epochs": 40,
            "patience_epochs": 15, "backbone_lr": 3e-3, "head_lr": 1e-3,
        },
        "synthesis": {"gan_kimg_per_round": 1.0},
    },
    "cpu": {
        "gan": {"image_size_px": 128, "total_kimg": 10.0},
        "classifier": {"image_size_px": 160, "epochs": 8, "patience_epochs": 5},
    },
    "gpu": _GPU,
    "gpu256": {**_GPU, "gan": {
        **_GPU["gan"], "image_size_px": 256, "base_channels": 32, "total_kimg": 1000.0,
    }},
}  # fmt: skip
