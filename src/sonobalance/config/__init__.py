"""ALL settings: frozen, validated, each with its unit, its range and one sentence.

How they are layered (defaults < preset < TOML file < command line) stands in `layers`.
"""

from sonobalance.config.classifier import (
    Attention,
    Augmentation,
    Balance,
    ClassifierSettings,
    ZoomOn,
)
from sonobalance.config.data import AuditSettings, Conflicts, DataSettings, SplitSettings
from sonobalance.config.gan import GanSettings, Objective
from sonobalance.config.outcome import EvaluationSettings, EvidenceMap, ExplanationSettings
from sonobalance.config.section import Section
from sonobalance.config.service import ServiceSettings
from sonobalance.config.settings import PRESETS, Arm, Preset, Settings
from sonobalance.config.synthesis import SynthesisSettings

__all__ = [
    "PRESETS",
    "Arm",
    "Attention",
    "AuditSettings",
    "Augmentation",
    "Balance",
    "ClassifierSettings",
    "Conflicts",
    "DataSettings",
    "EvaluationSettings",
    "EvidenceMap",
    "ExplanationSettings",
    "GanSettings",
    "Objective",
    "Preset",
    "Section",
    "ServiceSettings",
    "Settings",
    "SplitSettings",
    "SynthesisSettings",
    "ZoomOn",
]
