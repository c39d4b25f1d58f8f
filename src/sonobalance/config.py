"""ALL settings, in one place: frozen, validated, each with its unit, its range and one sentence.

How they are layered (defaults < preset < TOML file < command line) stands in `layers`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Preset = Literal["demo", "cpu", "gpu"]
Objective = Literal["d2gan", "single"]
Attention = Literal["none", "channel", "spatial", "both"]
Balance = Literal["none", "class-weights", "over-sampling"]
Augmentation = Literal["none", "light", "strong"]
Conflicts = Literal["drop", "keep", "relabel"]
Arm = Literal[
    "none", "class-weights", "over-sampling", "strong-augmentation", "single", "dual-one-shot",
    "dual-iterative",
]  # fmt: skip
EvidenceMap = Literal["grad-cam", "grad-cam++", "hirescam", "layer-cam", "attention-gate"]


class Section(BaseModel):
    """Base of every group of settings: immutable, and unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class DataSettings(Section):
    """How files become a manifest."""

    layout: Literal[
        "auto", "busi", "folders", "csv", "parquet", "bus-bra", "bus-uclm", "medmnist"
    ] = Field("auto", description="Reader of the source; `auto` looks at the files.")
    id_column: str = Field("id", description="Index table: column with the image id (optional).")
    path_column: str = Field("path", description="Index table: column with the image path.")
    label_column: str = Field("label", description="Index table: column with the class name.")
    patient_column: str = Field("patient", description="Index table: column with the patient key.")
    mask_column: str = Field("mask", description="Index table: column with the lesion-mask path.")
    patient_pattern: str = Field(
        "",
        description="Regular expression on the relative path whose first group is the patient key.",
    )
    min_side_px: int = Field(16, ge=1, description="Images with a shorter side are skipped.")
    max_megapixels: float = Field(
        50.0, gt=0, le=100,
        description="Larger images are refused unread (decompression bombs).",
    )  # fmt: skip
    frames_per_clip: int = Field(
        3, ge=1, le=1000, description="Evenly spaced frames taken of a clip (DICOM, GIF, TIFF)."
    )
    allow_burnt_in: bool = Field(
        False, description="Use DICOM files whose header says that annotation is burnt in."
    )

    @field_validator("patient_pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"it is no regular expression ({error})") from None
        return pattern


class AuditSettings(Section):
    """How near-duplicates, marks and shortcuts are looked for."""

    near_duplicates: bool = Field(True, description="Look for near-duplicate images.")
    mirrored: bool = Field(True, description="Look for copies with left and right exchanged too.")
    duplicate_threshold: float = Field(
        0.7, gt=0, lt=1, description="Score in (0, 1) from which a pair counts as near-duplicate."
    )
    joining_threshold: float = Field(
        0.75, gt=0, le=1,
        description="Score from which one pair alone may join two groups of several images each.",
    )  # fmt: skip
    shortlist_size: int = Field(
        20, ge=1, le=1000, description="Nearest images by global descriptor that are verified."
    )
    exhaustive_up_to: int = Field(
        1000, ge=0, description="Sets of at most so many images are verified pair by pair."
    )
    working_side_px: int = Field(
        160, ge=64, le=1024, description="Longer side at which local features are taken, pixels."
    )
    keypoints: int = Field(150, ge=50, le=5000, description="Local features per image.")
    marks: bool = Field(True, description="Look for burnt-in calipers, text, pictograms, colour.")
    workers: int = Field(2, ge=1, le=256, description="Threads; the result does not depend on it.")


class SplitSettings(Section):
    """How groups are dealt to TRAIN, VAL and TEST."""

    test_fraction: float = Field(0.2, gt=0, lt=0.9, description="Share of the images in TEST.")
    val_fraction: float = Field(0.16, gt=0, lt=0.9, description="Share of the images in VAL.")
    folds: int = Field(5, ge=2, le=50, description="Folds of the grouped cross-validation column.")
    repeats: int = Field(1, ge=1, le=100, description="Repeats of the cross-validation, each anew.")
    label_conflicts: Conflicts = Field(
        "drop",
        description="Near-duplicates under different labels: `drop` uses none of them, `keep`"
        " trains on them but never tests, `relabel` takes `labels_csv` and drops the rest.",
    )
    labels_csv: Path | None = Field(
        None, description="For `relabel`: a CSV with the columns id and label."
    )
    official_csv: Path | None = Field(
        None, description="CSV with published parts or folds, used in place of random ones."
    )
    official_id_column: str = Field(
        "ID", description="Official CSV: column with the id, path or file name of the image."
    )
    official_fold_column: str = Field(
        "kFold", description="Official CSV: column with the test fold of the image."
    )
    official_test_fold: str = Field(
        "", description="Official CSV: fold that is TEST; empty is the first."
    )
    official_val_column: str = Field(
        "valid_{fold}",
        description="Official CSV: column with 0 for VAL and 1 for TRAIN when `{fold}` is TEST.",
    )
    official_part_column: str = Field(
        "", description="Official CSV: column with train, val or test, used in place of the folds."
    )
    leaky: bool = Field(
        False, description="Split single images at random, for comparison with papers only."
    )

    @model_validator(mode="after")
    def _train_is_left(self) -> SplitSettings:
        if self.test_fraction + self.val_fraction > 0.95:
            raise ValueError("test_fraction and val_fraction leave less than 5 % for training")
        if (self.label_conflicts == "relabel") != (self.labels_csv is not None):
            raise ValueError("label_conflicts = relabel and labels_csv need each other")
        return self


class GanSettings(Section):
    """The class-conditional generator and its discriminators."""

    objective: Objective = Field(
        "d2gan", description="`d2gan`: two discriminators (Nguyen 2017); `single`: one, hinge."
    )
    image_size_px: Literal[32, 64, 128, 256] = Field(64, description="Side of generated images.")
    base_channels: int = Field(16, ge=4, le=256, description="Channels at the finest resolution.")
    latent_dim: int = Field(128, ge=8, le=1024, description="Length of the latent vector.")
    batch_size: int = Field(16, ge=2, le=1024, description="Images per step.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Of convolutions in training; `auto`: bfloat16 where it is fast."
    )
    autoencoder_kimg: float = Field(
        20.0, ge=0, description="Thousand images shown in the autoencoder warm-up."
    )
    total_kimg: float = Field(
        48.0, gt=0, description="Thousand real images shown in the adversarial phase."
    )
    autoencoder_lr: float = Field(1e-3, gt=0, lt=1, description="Adam learning rate, warm-up.")
    generator_lr: float = Field(1.5e-4, gt=0, lt=1, description="Adam learning rate of G.")
    discriminator_lr: float = Field(1e-3, gt=0, lt=1, description="Adam learning rate of D1, D2.")
    alpha: float = Field(0.2, gt=0, le=10, description="Weight of KL(p‖q): coverage.")
    beta: float = Field(0.1, gt=0, le=10, description="Weight of KL(q‖p): fidelity.")
    anchor_weight: float = Field(
        1.0, ge=0, description="Weight of the reconstruction anchor against collapse."
    )
    anchor_share: float = Field(
        0.25, ge=0, le=1, description="Share of each batch that reconstructs real images."
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
        description="Share sign(log r(real)) that the adaptive chance steers to; 0 keeps it fixed.",
    )  # fmt: skip
    fade_kimg: float = Field(
        2.0, ge=0, description="Thousand images until the discriminators weigh the class fully."
    )
    r1_weight: float = Field(
        0.01, ge=0, description="Weight of the R1 gradient penalty, as a share of alpha or beta."
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
        3, ge=1, description="Snapshots in a row beyond either limit that stop the training."
    )


class SynthesisSettings(Section):
    """The iterative loop and its gates."""

    rounds: int = Field(3, ge=1, le=100, description="Most rounds of the loop.")
    target: Literal["balance", "ratio", "counts"] = Field(
        "balance",
        description="`balance`: the size of the largest class; `ratio`, `counts`: see there.",
    )
    ratio: float = Field(
        1.0,
        gt=0,
        le=5,
        description="With target=ratio: images per class over the largest class.",
    )
    counts: dict[str, int] = Field(
        {}, description="With target=counts: images per class, real and synthetic together."
    )
    pool_factor: float = Field(
        4.0, ge=1, le=100, description="Candidates per image that a round may add."
    )
    min_pool: int = Field(
        32, ge=2, description="Fewest candidates of a class: enough to judge whether it collapsed."
    )
    cap_share: float = Field(
        0.5, gt=0, le=1, description="Most of a class's first deficit that one round may fill."
    )
    truncation: float = Field(
        1.0, ge=0, le=2, description="Factor of the latent noise; lower is tamer and less diverse."
    )
    realism_pass: float = Field(
        0.95, gt=0, lt=1, description="Share of real TRAIN images that pass the realism gate."
    )
    class_pass: float = Field(
        0.9, gt=0, lt=1, description="Most of a class's real images that pass its class gate."
    )
    class_reject: float = Field(
        0.85, gt=0, lt=1, description="Least share of other classes' real images it rejects."
    )
    hard_share: float = Field(
        0.1, ge=0, lt=1, description="Share of a round kept for images just below the class gate."
    )
    typicality_pass: float = Field(
        0.98, gt=0, lt=1, description="Share of real TRAIN images that pass the typicality gate."
    )
    typicality_slack: float = Field(
        1.0,
        ge=1,
        le=3,
        description="Factor that widens the real range of feature distances.",
    )
    false_copies: float = Field(
        0.03, gt=0, lt=0.5, description="Most real images that novelty may mistake for copies."
    )
    caught_copies: float = Field(
        0.995,
        gt=0.5,
        lt=1,
        description="Least share of altered TRAIN copies that novelty rejects.",
    )
    collapse_share: float = Field(
        0.5, gt=0, le=1,
        description="Stop when more than this share of `min_pool` candidates are twins.",
    )  # fmt: skip
    coverage_fall: float = Field(
        0.3, gt=0, le=1, description="Stop when coverage falls by this share below its best round."
    )
    patience_rounds: int = Field(2, ge=1, description="Rounds without gain before stopping.")
    min_gain: float = Field(
        0.002, ge=0, lt=1, description="Rise of the inner macro-F1 that counts as a gain."
    )
    min_acceptance: float = Field(
        0.02, ge=0, le=1, description="Stop when fewer candidates than this share are accepted."
    )
    max_candidates: int = Field(
        100_000, ge=1, description="Budget: no round starts after so many candidates."
    )
    inner_folds: int = Field(5, ge=2, le=20, description="Grouped folds of TRAIN judging a round.")
    inner_repeats: int = Field(3, ge=1, le=20, description="Times these folds are dealt anew.")
    harm_guard: bool = Field(
        True, description="Train with the images up to the best round only, possibly none."
    )
    gan_kimg_per_round: float = Field(
        2.0, ge=0, description="Thousand real images the GAN continues on before each later round."
    )


class ClassifierSettings(Section):
    """Backbone, attention, training recipe."""

    backbone: str = Field("mobilenetv2_100", description="Any timm model name.")
    weights: Path | None = Field(
        None, description="Local safetensors with the backbone's weights, in timm's names."
    )
    pretrained: bool = Field(False, description="Let timm download its weights.")
    attention: Attention = Field("both", description="Which gates follow the chosen stages.")
    attention_stages: int = Field(2, ge=1, le=16, description="Last stages that get gates.")
    image_size_px: int = Field(224, ge=32, le=1024, description="Side of the letterboxed input.")
    batch_size: int = Field(16, ge=2, le=1024, description="Images per step.")
    head_start: Literal["probe", "random"] = Field(
        "probe", description="First head: a regularised regression on frozen features, or chance."
    )
    head_epochs: int = Field(
        2, ge=0, description="Epochs with a pretrained backbone frozen, after a random head only."
    )
    epochs: int = Field(12, ge=1, description="Most epochs of fine-tuning.")
    patience_epochs: int = Field(6, ge=1, description="Epochs without gain on VAL before stopping.")
    head_lr: float = Field(2e-4, gt=0, lt=1, description="Learning rate of head and gates.")
    backbone_lr: float = Field(
        3e-4, gt=0, lt=1, description="Learning rate of the backbone's last layers."
    )
    layer_decay: float = Field(
        1.0, gt=0, le=1, description="Learning rate of a layer over that of the next deeper one."
    )
    frozen_share: float = Field(
        0.5, ge=0, lt=1, description="First share of a pretrained backbone's layers kept frozen."
    )
    warmup_share: float = Field(
        0.1, ge=0, lt=1, description="Share of the steps in which the learning rate rises."
    )
    weight_decay: float = Field(0.05, ge=0, description="AdamW weight decay.")
    dropout: float = Field(0.2, ge=0, lt=1, description="Chance of dropping a pooled feature.")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Label smoothing.")
    ema_halflife_epochs: float = Field(
        2.0, ge=0, description="Half-life of the averaged weights; 0 turns averaging off."
    )
    balance: Balance = Field("none", description="Cheap rebalancing, alternative to synthesis.")
    focal_gamma: float = Field(
        0.0, ge=0, le=5, description="Focal loss exponent (Lin 2017); 0 is cross-entropy."
    )
    synthetic_weight: float = Field(
        1.0, ge=0, le=10, description="Loss weight of a synthetic image; a real one weighs 1."
    )
    augmentation: Augmentation = Field("light", description="Strength of training augmentation.")
    mirror_test: bool = Field(
        True, description="Average the logits of an image and its left-right mirror at prediction."
    )


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
    faithfulness_maps: tuple[EvidenceMap, ...] = Field(
        ("grad-cam", "attention-gate"), description="Maps with deletion and insertion curves."
    )
    sanity_images: int = Field(
        8, ge=0, description="Images of the weight-randomisation check (0: none)."
    )
    steps: int = Field(8, ge=2, le=100, description="Steps of the deletion and insertion curves.")
    gradient_steps: int = Field(
        24, ge=4, le=500, description="Points on the path of integrated gradients."
    )
    resamples: int = Field(
        1000, ge=100, le=100_000, description="Group-clustered bootstrap resamples."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Level of the intervals.")


class Settings(Section):
    """Everything a run can be told."""

    seed: int = Field(0, ge=0, description="Seed of every random choice.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where tensors live.")
    arms: tuple[Arm, ...] = Field(
        (),
        description="What is compared; empty: `none` and the synthesis arm of the GAN objective.",
    )
    data: DataSettings = DataSettings()
    audit: AuditSettings = AuditSettings()
    split: SplitSettings = SplitSettings()
    gan: GanSettings = GanSettings()
    synthesis: SynthesisSettings = SynthesisSettings()
    classifier: ClassifierSettings = ClassifierSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    explanation: ExplanationSettings = ExplanationSettings()


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
        "synthesis": {"gan_kimg_per_round": 0.5},
    },
    "cpu": {"classifier": {"image_size_px": 160, "epochs": 8, "patience_epochs": 5}},
    "gpu": {
        "gan": {
            "image_size_px": 128, "batch_size": 32, "base_channels": 48,
            "autoencoder_kimg": 200.0, "total_kimg": 600.0, "snapshot_kimg": 20.0,
        },
        "classifier": {"epochs": 40, "patience_epochs": 10},
    },
}  # fmt: skip
