"""Settings of evaluation and explanation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sonobalance.config.section import Section

EvidenceMap = Literal[
    "grad-cam", "grad-cam++", "hirescam", "layer-cam", "class-evidence", "fine-hirescam",
    "gradient-energy", "attention-gate", "integrated-gradients", "occlusion",
]  # fmt: skip


class EvaluationSettings(Section):
    """Intervals and calibration."""

    resamples: int = Field(
        2000, ge=100, le=100_000, description="Group-clustered bootstrap resamples."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of the intervals.")
    calibration_bins: int = Field(10, ge=2, le=100, description="Bins of the calibration curve.")
    sensitivity: float = Field(
        0.95, gt=0, lt=1, description="Sensitivity that the operating thresholds aim at on VAL."
    )
    coverage: float = Field(
        0.9, gt=0.5, lt=1, description="Chance that a conformal set holds the true class."
    )
    external_classes: dict[str, str] = Field(
        {},
        description="Class → what the external set calls it; empty: classes of the same name. The"
        " probability of a class without one is shared out among the others.",
    )


class ExplanationSettings(Section):
    """Evidence maps."""

    target: Literal["predicted", "true"] = Field(
        "predicted", description="The class whose evidence is mapped."
    )
    batch_size: int = Field(16, ge=1, le=1024, description="Images per pass; bounds the memory.")
    gallery_per_class: int = Field(
        3, ge=1, le=50, description="Right and wrong cases shown per class."
    )
    heavy_images: int = Field(
        6, ge=0, description="Images with integrated gradients and occlusion (0: none)."
    )
    faithfulness_images: int = Field(
        16, ge=0, description="Images with deletion and insertion curves (0: none)."
    )
    generated_images: int = Field(
        96, ge=0,
        description="Synthetic images with a lesion that the generator drew, on which maps are "
        "scored, too (0: none).",
    )  # fmt: skip
    gallery_maps: tuple[EvidenceMap, ...] = Field(
        ("class-evidence", "gradient-energy", "fine-hirescam", "grad-cam", "attention-gate"),
        min_length=1,
        description="Maps shown in the gallery; costly ones where they were made.",
    )
    faithfulness_maps: tuple[EvidenceMap, ...] = Field(
        (
            "class-evidence",
            "grad-cam",
            "fine-hirescam",
            "gradient-energy",
            "attention-gate",
            "integrated-gradients",
        ),
        description="Maps with deletion and insertion curves; costly ones on `heavy_images`.",
    )
    sanity_images: int = Field(
        8, ge=0, description="Images of the checks by random weights and labels (0: none)."
    )
    relabelled_images: int = Field(
        96, ge=0, description="TRAIN images whose shuffled labels are learned by heart (0: none)."
    )
    steps: int = Field(8, ge=2, le=100, description="Steps of the deletion and insertion curves.")
    gradient_steps: int = Field(
        24, ge=4, le=500, description="Points on the path of integrated gradients."
    )
    resamples: int = Field(
        1000, ge=100, le=100_000, description="Group-clustered bootstrap resamples."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of the intervals.")
