"""The network that settings describe."""

from __future__ import annotations

from collections.abc import Sequence

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.config import ClassifierSettings


def network(
    settings: ClassifierSettings,
    classes: int,
    *,
    pretrained: bool = False,
    partners: Sequence[str] = (),
) -> AttentiveClassifier:
    """The network that these settings describe, with random weights unless `pretrained`.

    Args:
        settings: backbone, gates, side.
        classes: number of classes.
        pretrained: let timm download its weights.
        partners: backbones of the further members.
    """
    return AttentiveClassifier(
        settings.backbone, classes, settings.attention, settings.image_size_px,
        attention_stages=settings.attention_stages, attention_at=settings.attention_at,
        dropout=settings.dropout,
        pretrained=pretrained, lesion_attention=settings.lesion_attention, partners=partners,
        zoom=settings.zoom_test, zoom_on=settings.zoom_on,
    )  # fmt: skip
