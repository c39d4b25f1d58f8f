"""The files of a small bundle with random weights and a made-up description."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.deployment.archive import CARD, DESCRIPTION, WEIGHTS
from sonobalance.deployment.build import with_golden
from sonobalance.deployment.card import model_card
from sonobalance.deployment.describe import data_format
from sonobalance.deployment.description import Description
from sonobalance.deployment.examples import FILE as EXAMPLES
from sonobalance.deployment.reference import FILE as REFERENCE
from sonobalance.deployment.reference import Reference, normalised, write_reference
from sonobalance.deployment.tensors import write_tensors
from sonobalance.notice import NOTICE

CLASSES = ["benign", "malignant", "normal"]
BACKBONE, PARTNER, SIDE, FEATURES = "test_efficientnet", "test_resnet", 32, 256


def description(**changes: object) -> Description:
    interval = {"value": 0.8, "low": 0.7, "high": 0.9}
    page = {
        "format": "sonobalance-bundle", "format_version": 2, "name": "toy", "version": "1.0.0",
        "changelog": {}, "sonobalance_version": "0", "pytorch_version": "0", "numpy_version": "0",
        "required_packages_version": {}, "task": "toy", "description": "toy", "authors": "us",
        "copyright": "us", "licence": "Apache-2.0", "data_source": "phantoms",
        "data_type": "image", "image_classes": "grey", "label_classes": "three",
        "pred_classes": "three", "eval_metrics": {"accuracy": interval, "auc": {"value": None}},
        "intended_use": "tests", "limits": ["made up"], "notice": NOTICE, "references": [],
        "network_data_format": data_format(CLASSES, SIDE), "classes": CLASSES,
        "network": {
            "backbone": BACKBONE, "attention": "both", "attention_stages": 2,
            "image_size_px": SIDE, "partners": [PARTNER],
        },
        "preprocessing": {
            "image_size_px": SIDE, "grey": "luma", "letterbox": "centred", "input_range": [-1, 1],
            "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
        },
        "calibration": {"temperature": 0.7, "mirror_test": True},
        "thresholds": {"malignant": {
            "threshold": 0.3, "sensitivity_wanted": 0.95, "sensitivity": interval,
            "specificity": interval,
        }},
        "conformal": {
            "coverage_wanted": 0.9, "cutoff": 0.25, "quantile": 0.75, "coverage": interval,
            "mean_size": {"value": 1.5},
        },
        "training_data": {
            "name": "phantoms", "sha256": "0" * 64,
            "counts": {"real": dict.fromkeys(CLASSES, 2), "synthetic": {}},
        },
        "examples": False, "made_from": {},
    }  # fmt: skip
    return Description.model_validate(page | changes)


def network() -> AttentiveClassifier:
    torch.manual_seed(0)
    return AttentiveClassifier(BACKBONE, 3, "both", SIDE, partners=[PARTNER]).eval()


def bundle_files(*, examples: bool = False, limit: float = 2.0, **changes: object):
    """Name → bytes of a bundle without its sums, as `write_bundle` takes them."""
    page = description(examples=examples, **changes)
    features = np.random.default_rng(0).normal(size=(6, FEATURES)).astype(np.float32)
    reference = Reference(normalised(features), np.arange(6) % 3, limit, 2)
    files = {
        DESCRIPTION: json.dumps(page.model_dump(mode="json")).encode(),
        CARD: model_card(page).encode(),
        WEIGHTS: write_tensors(network().state_dict()),
        REFERENCE: write_reference(reference),
    }
    if examples:
        pixels = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 1, 96, 96)
        files[EXAMPLES] = write_tensors({"pixels": pixels})
    return with_golden(files, Path("toy"))
