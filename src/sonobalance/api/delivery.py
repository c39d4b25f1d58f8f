"""What leaves a run: a bundle, its check, ONNX, predictions of files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonobalance.config.service import ServiceSettings

Flat = Parameter(name="*")


def bundle(
    run: Path,
    *,
    out: Path,
    arm: str = "",
    name: str = "",
    model_version: str = "1.0.0",
    authors: str = "",
    licence: str = "",
    examples: bool = False,
) -> Path:
    """Make a bundle of a finished run: a folder and a ZIP that anyone can check and use.

    Holds weights, `model.json`, a model card, a golden sample of phantoms, and what tells strange
    images apart. No image of the data set is in it unless `--examples`.

    Args:
        run: run folder with an evaluation.
        out: folder of the bundle; OUT.zip is written beside it.
        arm: which classifier; default is the one chosen on VAL.
        name: of the model.
        model_version: of the model.
        authors: who made it.
        licence: under which it may be used.
        examples: put small training images into it; the owner of the data must allow that.

    Raises:
        InputError: the run is not finished, or `out` exists.
    """
    from sonobalance.deployment.build import bundle_run
    from sonobalance.deployment.describe import Identity
    from sonobalance.runs import open_run

    identity = Identity(name, model_version, authors, licence)
    return bundle_run(open_run(run), out, identity, arm=arm, examples=examples)


def verify(bundle: Path) -> Path:
    """Check a bundle: format, every byte, and its answers to the golden sample.

    Args:
        bundle: folder or ZIP.

    Raises:
        InputError: anything is missing, changed, of another version, or answers differently.
    """
    from sonobalance.deployment.check import load_verified
    from sonobalance.progress import console

    predictor, worst = load_verified(bundle)
    description = predictor.description
    console.print(
        f"{description.name}, version {description.version}, bundle format "
        f"{description.format_version}: every file is as it was written, and the golden sample is "
        f"repeated within {worst:.1g}."
    )
    console.print(description.notice)
    return bundle


def export_onnx(bundle: Path, *, out: Path, int8: Path | None = None) -> Path:
    """Export a bundle to one ONNX file and check it against torch on 100 phantoms.

    Input `pixels` (N, 1, S, S) float32 in [0, 255], any N; outputs `probabilities`, `logits`,
    `features`; opset 20. `examples/onnx_only.py` shows its use without torch.

    Args:
        bundle: folder or ZIP.
        out: file to write.
        int8: also write this file, with weights quantised to 8 bits; says what that changes.

    Raises:
        InputError: onnx is not installed, or the answers differ.
    """
    from sonobalance.deployment import onnx_export
    from sonobalance.deployment.predictor import BundlePredictor
    from sonobalance.progress import console

    predictor = BundlePredictor.load(bundle)
    worst = onnx_export.export_onnx_file(predictor, out)
    console.print(f"ONNX repeats torch within {worst:.1g} on {onnx_export.CHECKED} phantoms.")
    if predictor.description.preprocessing.clean_marks:
        console.print(
            "The model was trained on images whose marks were painted over, which is not in the "
            "ONNX file: give it images without marks, or use the bundle."
        )
    if int8 is not None:
        onnx_export.quantised_file(out, int8)
        squares = onnx_export.phantom_squares(predictor, onnx_export.CHECKED)
        change = onnx_export.difference(predictor, int8, squares)
        console.print(
            f"In {int8} probabilities change by up to {change:.2g} on the same phantoms; measure "
            "it on your own images before you use it."
        )
    return out


def serve(
    bundle: Path,
    *,
    generator: Path | None = None,
    service: Annotated[ServiceSettings, Flat] = ServiceSettings(),  # noqa: B008 - frozen
) -> int:
    """Serve a bundle over HTTP with a web page at `/`; needs the extra `serve`.

    Listens on this machine alone. Any other --host needs a token, from --token-file or the
    environment variable SONOBALANCE_TOKEN, or --insecure spelled out. Uploads stay in memory.

    Args:
        bundle: folder or ZIP; verified before the first request.
        generator: generator bundle, or a run folder with one, for the tab `Synthesise`.
        service: address, access and limits.

    Raises:
        InputError: the bundle cannot be used, the address is taken, or the extra is missing.
        SettingsError: the address needs a token.
    """
    from sonobalance.errors import InputError

    try:
        from sonobalance.service.server import serve_bundle
    except ImportError as error:
        raise InputError(
            f"Expected the extra for the service, but {error.name} is not installed; install "
            "sonobalance[serve]."
        ) from None
    return serve_bundle(bundle, generator, service)
