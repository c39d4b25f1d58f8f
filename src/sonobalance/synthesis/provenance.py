"""Where a synthetic image comes from, written into its own file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict

from sonobalance.config import SynthesisSettings
from sonobalance.data.loading import LabelledImages
from sonobalance.gan.sampling import Parents
from sonobalance.gan.snapshot import hash_images
from sonobalance.synthesis.ledger import Candidate
from sonobalance.version import __version__


def text_chunks(
    candidate: Candidate, generator: str, train: str, *, truncation: float, interpolation: int = 0
) -> dict[str, str]:
    """PNG text chunks of an accepted image.

    Args:
        candidate: its row.
        generator: hash of the generator's snapshot.
        train: hash of the TRAIN images.
        truncation: factor of the latent noise.
        interpolation: images from one latent to the next; 0 for images of their own.
    """
    row = asdict(candidate)
    row["class"] = row.pop("label")
    values = {"synthetic": "true", "software": f"sonobalance {__version__}"}
    values |= {"generator": generator, "train": train, "notice": "Research use only."}
    values |= {"truncation": repr(truncation), "interpolation": str(interpolation)}
    values |= {
        key: f"{v:.6g}" if isinstance(v, float) else str(v)
        for key, v in row.items()
        if key not in ("kept", "reason")
    }
    return values


def describe_parents(parents: Parents) -> str:
    """`id:share|...`, heaviest first; empty when the generator names none."""
    ordered = sorted(zip(parents.weights, parents.ids, strict=True), key=lambda p: (-p[0], p[1]))
    return "|".join(f"{name}:{weight:.3f}" for weight, name in ordered)


def parent_ids(described: str) -> list[str]:
    """The ids in `describe_parents`' text, heaviest first; an id may hold `|` and `:` itself."""
    return re.findall(r"(.+?):\d\.\d{3}(?:\||$)", described)


def identity_of(
    train: LabelledImages,
    groups: Sequence[str],
    generator: str,
    settings: SynthesisSettings,
    *others: str | float,
) -> str:
    """Hash of all that the loop's result depends on; `others` as they are: the seed and so on."""
    parts = [hash_images(train), list(groups), generator, settings.model_dump(mode="json"), *others]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
