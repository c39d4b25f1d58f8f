"""sonobalance: audit, split, balance, classify and explain small imbalanced ultrasound image sets.

Importing the package is cheap: the stage functions below load their heavy parts when called.
Research software, not a medical device.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from sonobalance.version import __version__

if TYPE_CHECKING:
    from sonobalance.api import (
        audit,
        benchmark,
        bundle,
        demo,
        doctor,
        evaluate,
        explain,
        export,
        export_onnx,
        fetch,
        index,
        memorisation,
        predict,
        regenerate,
        report,
        run,
        sample,
        serve,
        split,
        synthesize,
        train,
        train_gan,
        verify,
    )
    from sonobalance.config import GanSettings, Settings, SynthesisSettings
    from sonobalance.deployment.predictor import BundlePredictor
    from sonobalance.synthesis.balanced_dataset import BalancedDataset
    from sonobalance.synthesis.balancer import SyntheticBalancer
    from sonobalance.synthesis.copy_paste_balancer import CopyPasteBalancer

__all__ = [
    "BalancedDataset",
    "BundlePredictor",
    "CopyPasteBalancer",
    "GanSettings",
    "Settings",
    "SynthesisSettings",
    "SyntheticBalancer",
    "__version__",
    "audit",
    "benchmark",
    "bundle",
    "demo",
    "doctor",
    "evaluate",
    "explain",
    "export",
    "export_onnx",
    "fetch",
    "index",
    "memorisation",
    "predict",
    "regenerate",
    "report",
    "run",
    "sample",
    "serve",
    "split",
    "synthesize",
    "train",
    "train_gan",
    "verify",
]

HOMES = {
    "Settings": "sonobalance.config",
    "GanSettings": "sonobalance.config",
    "SynthesisSettings": "sonobalance.config",
    "BalancedDataset": "sonobalance.synthesis.balanced_dataset",
    "BundlePredictor": "sonobalance.deployment.predictor",
    "CopyPasteBalancer": "sonobalance.synthesis.copy_paste_balancer",
    "SyntheticBalancer": "sonobalance.synthesis.balancer",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'sonobalance' has no attribute {name!r}")
    home = HOMES.get(name, "sonobalance.api")
    return getattr(import_module(home), name)
