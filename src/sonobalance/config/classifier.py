"""Settings of the classifier and its training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt

from sonobalance.config.section import Section

Attention = Literal["none", "channel", "spatial", "both", "se", "eca"]
Balance = Literal["none", "class-weights", "over-sampling"]
Augmentation = Literal["none", "light", "medium", "strong"]
ZoomOn = Literal["middle", "lesion"]


class ClassifierSettings(Section):
    """Backbone, attention, training recipe."""

    backbone: str = Field("mobilenetv2_100", description="Any timm model name.")
    weights: Path | None = Field(
        None, description="Local safetensors with the backbone's weights, in timm's names."
    )
    pretrained: bool = Field(False, description="Let timm download its weights.")
    init: Path | None = Field(
        None,
        description="Folder of a classifier trained on other images, whose backbone, gates and"
        " lesion head are taken over; its classes may differ.",
    )
    partner: Path | None = Field(
        None,
        description="Folder of a classifier trained on other images, which joins with its backbone"
        " as it is and a head for these classes; `keep = average` only.",
    )
    second_backbone: str | None = Field(
        None,
        description="Another timm model, or the same with other weights, that is trained likewise "
        "and joins the mean; `keep = average` only.",
    )
    second_weights: Path | None = Field(
        None, description="Its weights, as `weights`; with `pretrained` timm downloads them, too."
    )
    attention: Attention = Field(
        "both",
        description="Which gates follow the chosen stages: channel and spatial gates of their own "
        "kind, or timm's squeeze-and-excitation (se) or efficient channel attention (eca).",
    )
    attention_stages: int = Field(2, ge=1, le=16, description="Last stages that get gates.")
    attention_at: tuple[NonNegativeInt, ...] = Field(
        (), description="Stages that get gates, 0 the first, in place of `attention_stages`."
    )
    lesion_attention: bool = Field(
        True,
        description="Learn the lesion's outline where TRAIN has masks, and pool features over it.",
    )
    mask_weight: float = Field(
        1.0, ge=0, le=100, description="Weight of the outline's loss beside that of the class."
    )
    outline_epochs: int = Field(
        12, ge=0, description="Epochs for the lesion head alone on a pretrained backbone, at first."
    )
    outline_lr: float = Field(
        2e-3, gt=0, lt=1,
        description="Learning rate of the lesion's outline; a tenth of it in fine-tuning.",
    )  # fmt: skip
    image_size_px: int = Field(224, ge=32, le=1024, description="Side of the letterboxed input.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Arithmetic of training; `auto` is bfloat16 where it is faster."
    )
    batch_size: int = Field(32, ge=2, le=1024, description="Images per step.")
    devices: int = Field(
        1, ge=1, description="Devices that share every batch of a pretrained network's fine-tuning."
    )
    frozen: bool = Field(
        False, description="Train nothing but a regularised regression on frozen features."
    )
    head_start: Literal["probe", "random"] = Field(
        "probe", description="First head: a regularised regression on frozen features, or chance."
    )
    head_c: float = Field(
        0.002, gt=0, le=100,
        description="Inverse strength of the first head's regularisation (scikit-learn's C).",
    )  # fmt: skip
    fixed_head: bool = Field(
        True, description="Fine-tuning leaves a head alone that a regression has fitted."
    )
    keep: Literal["average", "best"] = Field(
        "average",
        description="After fine-tuning: average the logits with those of the network before it, or"
        " keep the epoch with the lowest log-loss on VAL.",
    )
    members: int = Field(
        1, ge=1, le=16, description="With `keep = average`: how often the network is fine-tuned."
    )
    refit_head: bool = Field(
        True,
        description="With `keep = best`: fit the head anew on the tuned features, as an epoch.",
    )
    head_epochs: int = Field(
        2, ge=0, description="Epochs with a pretrained backbone frozen, after a random head only."
    )
    epochs: int = Field(6, ge=1, description="Most epochs of fine-tuning.")
    patience_epochs: int = Field(
        6, ge=1, description="With `keep = best`: epochs without gain on VAL before stopping."
    )
    head_lr: float = Field(2e-4, gt=0, lt=1, description="Learning rate of head and gates.")
    backbone_lr: float = Field(
        5e-5, gt=0, lt=1, description="Learning rate of the backbone's last layers."
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
    dropout: float = Field(0.0, ge=0, lt=1, description="Chance of dropping a pooled feature.")
    label_smoothing: float = Field(0.1, ge=0, lt=1, description="Label smoothing.")
    ema_halflife_epochs: float = Field(
        2.0, ge=0, description="Half-life of the averaged weights; 0 turns averaging off."
    )
    balance: Balance = Field("none", description="Cheap rebalancing, alternative to synthesis.")
    focal_gamma: float = Field(
        0.0, ge=0, le=5, description="Focal loss exponent (Lin 2017); 0 is cross-entropy."
    )
    synthetic_share: float = Field(
        0.25, ge=0, le=1,
        description="Most of a class's draws that its synthetic images take with over-sampling, "
        "which arms with synthetic images use; at 0 they are over-sampling itself.",
    )  # fmt: skip
    augmentation: Augmentation = Field("medium", description="Strength of training augmentation.")
    mixup: float = Field(
        0.0, ge=0, le=10,
        description="Mixup (Zhang 2018): its Beta distribution's parameter; 0 turns it off.",
    )  # fmt: skip
    cutmix: float = Field(
        0.0, ge=0, le=10,
        description="CutMix (Yun 2019), likewise; with both, one of them is drawn for each batch.",
    )  # fmt: skip
    zoom_test: float = Field(
        1.0, ge=1, le=2,
        description="Average the logits of an image and a part of it, enlarged by this, at "
        "prediction; 1 looks at the whole alone. Doubles the cost.",
    )  # fmt: skip
    zoom_on: ZoomOn = Field(
        "middle",
        description="Of which part, with `zoom_test` above 1: the middle, or around the lesion as "
        "the network outlines it (without one, the middle), at the cost of one more pass. The "
        "lesion needs `lesion_attention` and masks in TRAIN.",
    )
    mirror_test: bool = Field(
        True, description="Average the logits of an image and its left-right mirror at prediction."
    )
