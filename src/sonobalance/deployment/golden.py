"""The golden sample: three phantoms and what the model said about them when it was bundled.

They are simulated, never a patient's image. `verify` asks the model again.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sonobalance.data.cleaning import cleaned
from sonobalance.data.images import read_upload
from sonobalance.data.phantoms.generator import KINDS, phantom
from sonobalance.deployment.archive import GOLDEN
from sonobalance.deployment.predictor import BundlePredictor
from sonobalance.errors import InputError
from sonobalance.randomness import numpy_generator

SIDE_PX = 128
TOLERANCE = 1e-4  # of probabilities: processors and versions of torch round differently


def draw_golden() -> dict[str, bytes]:
    """File name → PNG of one phantom of each kind; always the same."""
    out = {}
    for kind in KINDS:
        image, _ = phantom(kind, numpy_generator(0, "golden", kind), SIDE_PX)
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        out[f"golden-{kind}.png"] = buffer.getvalue()
    return out


def expect(predictor: BundlePredictor, images: Mapping[str, bytes]) -> dict[str, Any]:
    """The content of `golden.json`: what this model says about these PNGs."""
    return {
        "note": "Simulated images (phantoms), and what the model said when it was bundled.",
        "tolerance": TOLERANCE,
        "images": [_asked(predictor, name, content) for name, content in sorted(images.items())],
    }


def check_golden(predictor: BundlePredictor, files: Mapping[str, bytes], path: Path) -> float:
    """Ask the model again; returns the largest difference of a probability.

    Raises:
        InputError: the sample is malformed, is read into other pixels, or gets another answer.
    """
    try:
        page = json.loads(files[GOLDEN])
        expected = {entry["file"]: entry for entry in page["images"]}
        tolerance = min(float(page["tolerance"]), 1e-3)
        worst = 0.0
        for name, entry in expected.items():
            got = _asked(predictor, name, files[name])
            if got["square_sha256"] != entry["square_sha256"]:
                raise InputError(
                    f"Expected {name} of {path} to be read into the pixels it was made with, but "
                    "it is not; the image libraries differ too much from those of model.json."
                )
            worst = float(np.maximum(worst, _difference(got, entry)))  # keeps what is no number
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"Expected a golden sample in {GOLDEN} of {path}, but it is malformed."
        ) from None
    if not expected or not worst <= tolerance:
        raise InputError(
            f"Expected the model of {path} to repeat its golden sample within {tolerance:g}, but "
            f"a probability differs by {worst:.2g}; it does not work here as it did."
        )
    return worst


def _difference(got: Mapping[str, Any], entry: Mapping[str, Any]) -> float:
    names = got["probabilities"]
    return float(
        np.max([abs(p - float(entry["probabilities"][name])) for name, p in names.items()])
    )


def _asked(predictor: BundlePredictor, name: str, content: bytes) -> dict[str, Any]:
    with cleaned(predictor.description.preprocessing.clean_marks):
        square = predictor.squares([read_upload(content)[0]])
    outputs = predictor.outputs(square)
    row = outputs.probabilities[0]
    return {
        "file": name,
        "square_sha256": hashlib.sha256(np.ascontiguousarray(square).tobytes()).hexdigest(),
        "logits": [float(z) for z in outputs.logits[0]],
        "probabilities": dict(zip(predictor.classes, map(float, row), strict=True)),
    }
