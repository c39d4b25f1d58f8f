"""A fitted generator as a flat folder of safetensors and JSON: generators, gates, features.

`bundle.json` names every file with its SHA-256 and says what the bundle reveals of its TRAIN
images. Nothing is unpickled (promise P5).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sonobalance.classify.features import extract_features
from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.errors import InputError
from sonobalance.files import copy_file, read_json, sha256_of, write_json
from sonobalance.gan.places import why_none
from sonobalance.gan.sampling import Sampler
from sonobalance.gan.snapshot import hash_images
from sonobalance.notice import NOTICE
from sonobalance.synthesis.enlarger import ENLARGER, Enlarger, load_enlarger
from sonobalance.synthesis.gate_files import load_gates, save_gates
from sonobalance.synthesis.gate_models import FeatureFunction, GateModels
from sonobalance.synthesis.gates import Realism
from sonobalance.synthesis.generator import snapshot_name
from sonobalance.version import __version__

KIND = "sonobalance-generator-1"
DOCUMENT, GATES, BACKBONE = "bundle.json", "gates.safetensors", "backbone.safetensors"
GOLDEN_SEED = 20260412
REVEALS = (
    "The generators hold a latent vector of every TRAIN image; decoding it gives a blurred likeness"
    " of that image. The gates hold the ids, features and outlines (32 x 32, band-passed) of the "
    "TRAIN images. Treat the bundle as you must treat the images themselves, and share it only "
    "where their licence and your ethics approval allow that."
)
LIMITS = (
    "Images are small, grey, and mixtures of TRAIN images of one class: they add no patients, no "
    "devices and no pathology that TRAIN (and with `gan.init` the set before it) lacks, and "
    "inherit its biases and wrong labels. Use them to train, never to validate or test."
)


@dataclass(frozen=True)
class GeneratorBundle:
    """An opened bundle.

    Attributes:
        folder: where it lies.
        document: content of `bundle.json`.
        sampler: the default generator.
        gates: calibrated on its TRAIN images.
        realism: gate of the default generator.
        enlarger: brings images to the classifier's side; None where they stay as they are drawn.
    """

    folder: Path
    document: dict[str, Any]
    sampler: Sampler
    gates: GateModels
    realism: Realism
    enlarger: Enlarger | None = None

    @property
    def round(self) -> int:
        """Round of the default generator."""
        return int(self.document["default_round"])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the default generator."""
        return str(self.document["files"][snapshot_name(self.round)])


def write_generator_bundle(
    folder: Path,
    *,
    generators: Path,
    gates: GateModels,
    realism: Realism,
    train: LabelledImages,
    default_round: int,
    settings: SynthesisSettings,
    backbone: str,
    weights: Path | None,
    enlarger: Path | None = None,
) -> Path:
    """Write a bundle; `bundle.json` last, so that a half-written one is none.

    Args:
        folder: made if missing; files of an earlier bundle are replaced.
        generators: folder of `round-<n>.safetensors`, all of which are taken.
        gates: calibrated gates.
        realism: gate of the default round's generator.
        train: real TRAIN images.
        default_round: generator that `sample` uses.
        settings: of the synthesis.
        backbone: timm name of the features' network.
        weights: its file; None where features need none.
        enlarger: its file; None where images stay as they are drawn.
    """
    (folder / DOCUMENT).unlink(missing_ok=True)
    names = sorted(p.name for p in generators.glob("round-*.safetensors"))
    for name in names:
        copy_file(generators / name, folder / name)
    save_gates(folder / GATES, gates, realism)
    given = {BACKBONE: weights, ENLARGER: enlarger}
    taken = {name: path for name, path in given.items() if path is not None}
    for name, path in taken.items():
        copy_file(path, folder / name)
    files = [*names, GATES, *taken]
    sampler = Sampler.load(folder / snapshot_name(default_round), torch.device("cpu"))
    counted = Counter(train.classes[k] for k in train.targets.tolist())
    thresholds = {name: asdict(t) for name, t in gates.thresholds().items()}
    write_json(folder / DOCUMENT, {
        "kind": KIND,
        "software": f"sonobalance {__version__}",
        "notice": NOTICE,
        "classes": list(train.classes),
        "image_size_px": sampler.image_size_px,
        "default_round": default_round,
        "train": {"hash": hash_images(train), "images": dict(counted)},
        "features": {"backbone": backbone if weights is not None else None},
        "thresholds": thresholds | {"realism": asdict(realism.threshold)},
        "copies_caught": gates.novelty.caught,
        "settings": settings.model_dump(mode="json"),
        "golden": golden_sample(sampler),
        "reveals": REVEALS,
        "limits": LIMITS,
        "files": {name: sha256_of(folder / name) for name in files},
    })  # fmt: skip
    return folder


def open_generator_bundle(path: Path, device: torch.device | str = "cpu") -> GeneratorBundle:
    """Open a bundle, or the one inside a run folder, after checking every file.

    Args:
        path: bundle, run folder, or its `synthesis` folder.
        device: where networks and likeness live.

    Raises:
        InputError: there is no bundle, or a file is missing, changed, or of another kind.
    """
    folder = find_bundle(path)
    document = read_json(folder / DOCUMENT)
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise InputError(
            f"Expected a generator bundle of the kind {KIND} in {folder}, but got "
            f"{document.get('kind') if isinstance(document, dict) else 'no document'!r}."
        )
    _check_files(folder, document)
    snapshot = snapshot_name(int(document["default_round"]))
    sampler = Sampler.load(folder / snapshot, torch.device(device))
    gates, realism = load_gates(folder / GATES, _features(folder, document, device), device)
    has_it = ENLARGER in document["files"]
    enlarger = load_enlarger(folder / ENLARGER, device) if has_it else None
    return GeneratorBundle(folder, document, sampler, gates, realism, enlarger)


def find_bundle(path: Path) -> Path:
    """The bundle's folder at or inside a path.

    Raises:
        InputError: there is none.
    """
    places = (path, path / "bundle", path / "synthesis" / "bundle")
    for place in places:
        if (place / DOCUMENT).is_file():
            return place
    raise InputError(
        f"Expected a generator bundle ({DOCUMENT}) in {path} or its synthesis/bundle, but there is "
        f"none: {why_none(path)}"
    )


def golden_sample(sampler: Sampler) -> list[dict[str, Any]]:
    """The first image of each class with a fixed seed, as a hash of its pixels."""
    present = sampler.snapshot.bank.targets.unique()
    samples = sampler.sample(present, seed=GOLDEN_SEED, title="")
    return [
        {
            "class": sampler.classes[target],
            "seed": GOLDEN_SEED,
            "index": index,
            "sha256": hashlib.sha256(pixels.numpy().tobytes()).hexdigest(),
        }
        for index, (target, pixels) in enumerate(zip(present.tolist(), samples.pixels, strict=True))
    ]


def repeats_golden_sample(bundle: GeneratorBundle) -> bool:
    """Whether this machine gives the very pixels that the bundle's maker got."""
    return golden_sample(bundle.sampler) == bundle.document["golden"]


def _features(
    folder: Path, document: Mapping[str, Any], device: torch.device | str
) -> FeatureFunction:
    backbone = document["features"]["backbone"]
    if backbone is None:
        return partial(extract_features, device=device)
    return partial(extract_features, backbone=backbone, weights=folder / BACKBONE, device=device)


def _check_files(folder: Path, document: Mapping[str, Any]) -> None:
    for name, digest in document["files"].items():
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise InputError(f"Expected safetensors files only in {folder}, but got {name!r}.")
        if sha256_of(folder / name) != digest:
            raise InputError(
                f"Expected {folder / name} to be as it was written, but its SHA-256 differs; "
                "get the bundle again."
            )
