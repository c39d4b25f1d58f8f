"""Images from a generator bundle: drawn, gated, written with their provenance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sonobalance.config import SynthesisSettings
from sonobalance.data.images import write_png
from sonobalance.errors import InputError
from sonobalance.files import check_new, write_json
from sonobalance.gan.sampling import Samples
from sonobalance.notice import NOTICE
from sonobalance.randomness import derive
from sonobalance.synthesis.enlarger import Enlarger, enlarged_pixels
from sonobalance.synthesis.generator_bundle import (
    LIMITS,
    GeneratorBundle,
    repeats_golden_sample,
)
from sonobalance.synthesis.interpolation import interpolate
from sonobalance.synthesis.ledger import (
    SAMPLE,
    Candidate,
    image_path,
    write_manifest,
    write_selection,
)
from sonobalance.synthesis.masks import write_masks
from sonobalance.synthesis.provenance import describe_parents, text_chunks
from sonobalance.synthesis.select import ACCEPTED_HARD, make_pool, select

SHEET = "contact-sheet.png"
POOL = 64
SHEET_COLUMNS, SHEET_ROWS = 10, 10
NOT_GATED = "accepted: gates were switched off"
NOT_JUDGED = -1.0  # score of a gate that was not asked


@dataclass(frozen=True)
class Request:
    """What is to be drawn.

    Attributes:
        label: class name.
        n: images wanted.
        seed: of every draw.
        truncation: factor of the latent noise; lower is tamer and less diverse.
        interpolation: 0, or the number of images from one latent to the next; not gated.
        gates: whether images must pass the gates.
        tries: most candidates per image wanted.
        drawn: leave images at the generator's side where the bundle could enlarge them.
    """

    label: str
    n: int
    seed: int = 0
    truncation: float = 1.0
    interpolation: int = 0
    gates: bool = True
    tries: int = 20
    drawn: bool = False


def draw_images(bundle: GeneratorBundle, request: Request, out: Path) -> dict[str, Any]:
    """Write `n` images of a class, or as many as pass the gates within the tries.

    Gates judge images as they are drawn; then the bundle's enlarger brings them to the side of the
    classifier that they are for.

    Writes `images/<class>/*.png` with provenance, `masks/<class>/*.png` where the generator draws
    masks (of the size of the images), `manifest.csv`, `selection.csv` (a row per candidate),
    `contact-sheet.png` and `sample.json`.

    Args:
        bundle: the generator and its gates.
        request: what is wanted.
        out: a new or empty folder.

    Returns:
        The content of `sample.json`.

    Raises:
        InputError: there is no such class, or the folder is not empty.
    """
    _check(bundle, request, out)
    gated = request.gates and not request.interpolation
    candidates, pixels = make_images(bundle, request)
    kept = [c for c in candidates if c.kept]
    enlarger = None if request.drawn else bundle.enlarger
    named = {"enlarger": enlarger.name} if enlarger else {}
    if enlarger:
        pixels = enlarged_pixels(pixels, enlarger, batch_size=1)  # `regenerate` makes one alone
    for candidate, image in zip(kept, pixels, strict=True):
        text = text_chunks(
            candidate, bundle.fingerprint, bundle.document["train"]["hash"],
            truncation=request.truncation, interpolation=request.interpolation,
        )  # fmt: skip
        write_png(out / image_path(candidate), image[0].numpy(), text | named)
    write_selection(out, candidates)
    write_manifest(out, kept)
    write_png(out / SHEET, sheet(pixels), {"synthetic": "true", "notice": NOTICE})
    masks = 0
    if bundle.sampler.snapshot.settings.synthesize_masks:
        masks = write_masks(out, lambda _: bundle.sampler)
    document = _document(bundle, request, candidates, enlarger, masks=masks, gated=gated)
    write_json(out / SAMPLE, document)
    return document


def make_images(bundle: GeneratorBundle, request: Request) -> tuple[list[Candidate], Tensor]:
    """Candidates, and the pixels (n, 1, S, S) uint8 of those that were kept; writes nothing."""
    target = bundle.document["classes"].index(request.label)
    if request.gates and not request.interpolation:
        return _gated(bundle, request, target)
    return _plain(bundle, request, target)


def _check(bundle: GeneratorBundle, request: Request, out: Path) -> None:
    known = bundle.document["train"]["images"]
    if request.label not in known:
        raise InputError(
            f"Expected a class of the bundle ({', '.join(known)}), but got {request.label!r}."
        )
    check_new(out)


def _plain(
    bundle: GeneratorBundle, request: Request, target: int
) -> tuple[list[Candidate], Tensor]:
    """`n` images as they come, none of them judged."""
    places = torch.arange(request.n)
    if request.interpolation:
        samples = interpolate(
            bundle.sampler, target, seed=request.seed, steps=request.interpolation,
            indices=places, truncation=request.truncation,
        )  # fmt: skip
    else:
        targets = torch.full((request.n,), target)
        samples = bundle.sampler.sample(targets, seed=request.seed, truncation=request.truncation)
    return [_unjudged(bundle, request, samples, i) for i in range(request.n)], samples.pixels


def _unjudged(bundle: GeneratorBundle, request: Request, samples: Samples, index: int) -> Candidate:
    return Candidate(
        id=f"s{request.seed}-{request.label}-{index:05d}", round=bundle.round,
        label=request.label, seed=request.seed, index=index, realism=NOT_JUDGED,
        class_probability=NOT_JUDGED, typicality=NOT_JUDGED, novelty=NOT_JUDGED,
        diversity=NOT_JUDGED, log_r1=NOT_JUDGED, log_r2=NOT_JUDGED, nearest_id="",
        nearest_distance=NOT_JUDGED, parents=describe_parents(samples.parents[index]), kept=True,
        reason=NOT_GATED,
    )  # fmt: skip


def _gated(
    bundle: GeneratorBundle, request: Request, target: int
) -> tuple[list[Candidate], Tensor]:
    """Pools of candidates until `n` passed every gate or the tries are used up."""
    settings = SynthesisSettings.model_validate(bundle.document["settings"])
    candidates: list[Candidate] = []
    side = bundle.sampler.image_size_px
    accepted = torch.empty(0, 1, side, side, dtype=torch.uint8)
    for block in range(-(-request.n * request.tries // POOL)):
        pool = make_pool(
            bundle.sampler, bundle.gates, bundle.realism, number=bundle.round, target=target,
            size=POOL, seed=derive(request.seed, "sample", request.label, block),
            truncation=request.truncation, prefix=f"s{request.seed}",
        )  # fmt: skip
        tables = bundle.gates.diversity.tables(pool.images.pixels, accepted)
        chosen = select(
            pool, bundle.gates, bundle.realism, tables, quota=request.n - len(accepted),
            hard_quota=round(settings.hard_share * request.n) - _hard(candidates),
            realism_share=settings.realism_share,
        )  # fmt: skip
        places = [i for i, c in enumerate(chosen) if c.kept]
        accepted = torch.cat([accepted, pool.images.pixels[places]])
        candidates += [_renumbered(c, request, block * POOL + c.index) for c in chosen]
        if len(accepted) == request.n:
            break
    return candidates, accepted


def _hard(candidates: Sequence[Candidate]) -> int:
    """How many hard examples were accepted so far."""
    return sum(c.kept and c.reason.startswith(ACCEPTED_HARD) for c in candidates)


def _renumbered(candidate: Candidate, request: Request, number: int) -> Candidate:
    return replace(candidate, id=f"s{request.seed}-{request.label}-{number:05d}")


def sheet(pixels: Tensor) -> NDArray[np.uint8]:
    """The first hundred images (N, 1, S, S) uint8 side by side, (H, W) uint8."""
    side, gap = pixels.shape[-1], 2
    shown = pixels[: SHEET_COLUMNS * SHEET_ROWS, 0].numpy()
    rows = max(1, -(-len(shown) // SHEET_COLUMNS))
    out = np.full((rows * (side + gap), SHEET_COLUMNS * (side + gap)), 128, np.uint8)
    for i, image in enumerate(shown):
        top, left = (i // SHEET_COLUMNS) * (side + gap), (i % SHEET_COLUMNS) * (side + gap)
        out[top : top + side, left : left + side] = image
    return out


def _document(
    bundle: GeneratorBundle,
    request: Request,
    candidates: list[Candidate],
    enlarger: Enlarger | None,
    *,
    masks: int,
    gated: bool,
) -> dict[str, Any]:
    rejected = Counter(c.reason.split(":")[0] for c in candidates if not c.kept)
    kept = sum(c.kept for c in candidates)
    repeated = repeats_golden_sample(bundle)
    return {
        "class": request.label,
        "asked": request.n,
        "made": len(candidates),
        "accepted": kept,
        "masks": masks,
        "rejected": dict(rejected),
        "gates": gated,
        "seed": request.seed,
        "image_size_px": enlarger.large if enlarger else bundle.sampler.image_size_px,
        "enlarger": enlarger.name if enlarger else None,
        "truncation": request.truncation,
        "interpolation": request.interpolation,
        "generator": bundle.fingerprint,
        "train": bundle.document["train"],
        "golden_sample_repeated": repeated,
        "limits": LIMITS,
        "notice": NOTICE,
        "sentence": _sentence(
            request, kept, len(candidates), enlarger, masks=masks, gated=gated, repeated=repeated
        ),
    }


def _sentence(
    request: Request,
    kept: int,
    made: int,
    enlarger: Enlarger | None,
    *,
    masks: int,
    gated: bool,
    repeated: bool,
) -> str:
    text = f"{kept} of {request.n} images of {request.label} were written"
    text += f", accepted from {made} candidates." if gated else "; no gate has judged them."
    if kept < request.n:
        text += (
            f" The other candidates failed a gate (selection.csv says which); more --tries than "
            f"{request.tries} per image may find more, or the generator cannot."
        )
    if enlarger:
        text += (
            f" They were drawn with {enlarger.small} px and enlarged to {enlarger.large} px as "
            "learnt from TRAIN; --drawn leaves them as they were drawn."
        )
    if masks:
        text += " masks/ has the lesion of each as the generator drew it."
    if not repeated:
        text += (
            " This machine does not repeat the bundle's golden sample bit for bit, so neither do "
            "its images repeat those of the bundle's maker."
        )
    return text
