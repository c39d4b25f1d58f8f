"""A bundle as one ONNX file: pixels in, calibrated probabilities out.

Mirror averaging and temperature are part of the graph, so whoever runs it needs the letterbox only;
classes, size and preprocessing stand in the file's metadata. `examples/onnx_only.py` runs it with
onnxruntime, numpy and Pillow.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sonobalance.data.phantoms.generator import KINDS, phantom
from sonobalance.deployment.predictor import BundlePredictor, Squares
from sonobalance.errors import InputError
from sonobalance.files import atomic
from sonobalance.randomness import numpy_generator

OPSET = 20
TOLERANCE = 1e-5  # of probabilities, against torch
CHECKED = 100  # phantoms
INPUT, OUTPUTS = "pixels", ("probabilities", "logits", "features")


class Exported(nn.Module):
    """The graph: (N, 1, S, S) float32 grey values in [0, 255] → probabilities, logits, features."""

    def __init__(self, predictor: BundlePredictor) -> None:
        super().__init__()
        calibration = predictor.description.calibration
        self.model, self.temperature = predictor.model, calibration.temperature
        self.mirror = calibration.mirror_test

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(N, K) probabilities, (N, K) logits before the temperature, (N, F) features."""
        unit = pixels / 127.5 - 1
        sides = torch.cat([unit, unit.flip(3)]) if self.mirror else unit  # one pass, half the graph
        logits, features = self.model.logits_and_features(sides)
        if self.mirror:
            logits = logits.unflatten(0, (2, -1)).mean(0)
            features = features.unflatten(0, (2, -1))[0]
        return (logits / self.temperature).softmax(1), logits, features


def export_onnx_file(predictor: BundlePredictor, out: Path) -> float:
    """Write the ONNX file and compare it with torch on phantoms.

    Args:
        predictor: the bundle.
        out: file to write; appears only when the check passed.

    Returns:
        The largest difference of a probability on `CHECKED` phantoms.

    Raises:
        InputError: onnx is not installed, the network cannot be exported, the answers differ, or
            the file cannot be written.
    """
    onnx = _library("onnx")
    with atomic(out) as temporary:
        proto = _export(predictor)
        onnx.helper.set_model_props(proto, metadata(predictor))
        temporary.write_bytes(proto.SerializeToString())
        worst = difference(predictor, temporary, phantom_squares(predictor, CHECKED))
        if not worst <= TOLERANCE:  # nor where it is no number
            raise InputError(
                f"Expected ONNX to repeat torch within {TOLERANCE:g} on {CHECKED} phantoms, but a "
                f"probability differs by {worst:.2g}; report it with the versions of `doctor`."
            )
    return worst


def quantised_file(source: Path, out: Path) -> None:
    """Weights as int8, activations quantised while it runs (onnxruntime's dynamic quantisation).

    Raises:
        InputError: onnxruntime is not installed, or the file cannot be written.
    """
    _library("onnxruntime")
    from onnxruntime import quantization  # noqa: PLC0415 - an extra

    with atomic(out) as temporary:
        logging.disable(logging.WARNING)  # it recommends preprocessing that changes nothing here
        try:
            quantization.quantize_dynamic(
                source, temporary, weight_type=quantization.QuantType.QUInt8,
                op_types_to_quantize=["MatMul", "Gemm", "Conv"],
            )  # fmt: skip
        finally:
            logging.disable(logging.NOTSET)


def difference(predictor: BundlePredictor, path: Path, squares: Squares) -> float:
    """Largest difference of a probability between an ONNX file and torch."""
    got = run_onnx(path, squares)
    return float(np.abs(got - predictor.outputs(squares).probabilities).max())


def run_onnx(path: Path, squares: Squares) -> NDArray[np.float32]:
    """(N, K) probabilities of an ONNX file for (N, S, S) uint8 letterboxed images."""
    runtime = _library("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = squares[:, None].astype(np.float32)
    out: NDArray[np.float32] = session.run([OUTPUTS[0]], {INPUT: pixels})[0]
    return out


def phantom_squares(predictor: BundlePredictor, count: int) -> Squares:
    """Letterboxed phantoms, always the same."""
    drawn = [
        phantom(KINDS[i % len(KINDS)], numpy_generator(0, "onnx", i), 96)[0] for i in range(count)
    ]
    return predictor.squares(drawn)


def metadata(predictor: BundlePredictor) -> dict[str, str]:
    """What the ONNX file says about itself."""
    page = predictor.description
    said = {
        "classes": page.classes, "image_size_px": page.preprocessing.image_size_px,
        "preprocessing": page.preprocessing.model_dump(mode="json"),
        "input": "pixels: (N, 1, S, S) float32, letterboxed grey values in [0, 255]",
        "conformal": page.conformal and page.conformal.model_dump(mode="json"),
        "thresholds": {name: rule.threshold for name, rule in page.thresholds.items()},
        "bundle_sha256": predictor.digest, "name": page.name, "version": page.version,
        "notice": page.notice, "licence": page.licence,
    }  # fmt: skip
    return {name: v if isinstance(v, str) else json.dumps(v) for name, v in said.items()}


def _export(predictor: BundlePredictor) -> Any:
    _library("onnxscript")
    side = predictor.description.preprocessing.image_size_px
    example = torch.zeros(2, 1, side, side)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                Exported(predictor).eval(), (example,), dynamo=True, verbose=False,
                dynamic_shapes=({0: torch.export.Dim("batch")},), opset_version=OPSET,
                input_names=[INPUT], output_names=list(OUTPUTS),
            )  # fmt: skip
    except torch.onnx.OnnxExporterError as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"Expected the network to have an ONNX form, but {first}") from error
    assert program is not None  # noqa: S101 - for the type checker: dynamo=True gives a program
    return program.model_proto


def _library(name: str) -> Any:
    import importlib  # noqa: PLC0415

    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            f"Expected {name} for ONNX, but it is not installed; install sonobalance[onnx]."
        ) from None
