"""What the files of a run say: manifest, parts, groups, accepted images, the chosen arm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from sonobalance.arms import CHEAP, TREATMENTS, arms_of
from sonobalance.chain import check_chain
from sonobalance.classify.places import page_file, weights_file
from sonobalance.config import Arm
from sonobalance.data.manifest import Manifest, Record, read_manifest
from sonobalance.errors import InputError
from sonobalance.files import read_json, read_rows, sha256_of
from sonobalance.runs import Run

ACCEPTED = "synthesis/manifest.csv"  # the images that a synthesis added
LARGE = "large"  # beside the `images` of a synthesis, the same for a classifier

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import torch
    from numpy.typing import NDArray

    from sonobalance.data.loading import LabelledImages
    from sonobalance.data.split import Splits


def manifest_of(run: Run) -> Manifest:
    """The manifest of a run."""
    source = run.source
    return read_manifest(run.path("manifest.csv"), source if source.is_dir() else source.parent)


def splits_of(run: Run) -> Splits:
    """The parts of a run, checked again for leaks (promises P1 and P2)."""
    from sonobalance.data.split import read_splits

    manifest = manifest_of(run)
    return read_splits(run.path("splits.csv"), manifest, leaky=run.settings.split.leaky)


def groups_of(run: Run) -> dict[str, str]:
    """Image id → group, from `groups.csv`."""
    return _column(run, "group") or {}


def copies_of(run: Run) -> dict[str, str] | None:
    """The same of near-duplicates alone; None where an earlier version wrote `groups.csv`."""
    return _column(run, "copies")


def _column(run: Run, name: str) -> dict[str, str] | None:
    rows = read_rows(run.path("groups.csv"))
    return None if rows and name not in rows[0] else {row["id"]: row[name] for row in rows}


def device_of(run: Run) -> torch.device:
    """The device a run computes on.

    Raises:
        InputError: CUDA is asked for and absent.
    """
    import torch

    wanted = run.settings.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "Expected a CUDA device for `device=cuda`, but there is none; see `doctor`."
        )
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def collapsed(run: Run) -> bool:
    """Whether the GAN ended without any usable generator."""
    ended = run.path("gan/gan.json").is_file()
    return ended and not run.path("gan/snapshot.safetensors").is_file()


def advised_against(run: Run) -> bool:
    """Whether no round of the loop was better inside TRAIN than no synthetic images."""
    summary = run.path("synthesis/synthesis.json")
    return summary.is_file() and bool(read_json(summary)["best_round"] == 0)


def guarded(run: Run) -> bool:
    """Whether the harm guard keeps the model from being one with synthetic images."""
    return run.settings.synthesis.harm_guard and advised_against(run)


def trained_arms(run: Run) -> tuple[Arm, ...]:
    """The arms of a run; those that need a generator are left out when it collapsed.

    Where no arm may become the model, `over-sampling` is one more: a synthesis arm without its
    images.
    """
    arms = arms_of(run.settings)
    cheap = tuple(arm for arm in arms if arm in CHEAP)
    if collapsed(run):
        return cheap or ("over-sampling",)
    return arms if cheap or not guarded(run) else (*arms, "over-sampling")


def as_seen(accepted: Manifest) -> Manifest:
    """Synthetic images as a classifier sees them: enlarged, where the run did that."""
    if not (accepted.root / LARGE).is_dir():
        return accepted
    return replace(accepted, records=tuple(replace(r, path=large_path(r)) for r in accepted))


def large_path(record: Record) -> str:
    """Where the enlarged image stands, relative to the synthesis."""
    return f"{LARGE}/{record.label}/{Path(record.path).name}"


def trained_whole(run: Run, arm: str) -> bool:
    """Whether the trained classifier of an arm is there, with the weights that its page names."""
    folder = run.path(f"classifier/{arm}")
    page, weights = page_file(folder), weights_file(folder)
    known = page.is_file() and weights.is_file()
    return known and bool(read_json(page)["weights_sha256"] == sha256_of(weights))


def all_trained_whole(run: Run) -> bool:
    """The same of every arm of a run."""
    return all(trained_whole(run, arm) for arm in trained_arms(run))


def all_drawn(run: Run) -> bool:
    """Whether every picture that an explanation names is there."""
    from sonobalance.explanation.cases import pictures_of

    names = pictures_of(read_json(run.path("explanation.json"))["cases"])
    return all(run.path(f"maps/{name}").is_file() for name in names)


def was_cleaned(run: Run, stage: str) -> bool:
    """Whether a stage read images without their marks; the setting may have changed since."""
    entry = run.record["stages"].get(stage, {})
    settings = entry.get("fingerprint", {}).get("settings", {})
    return bool(settings.get("clean_marks", run.settings.clean_marks))


def synthetic_of(
    run: Run, arm: Arm, size_px: int, classes: tuple[str, ...]
) -> LabelledImages | None:
    """The accepted synthetic images that an arm trains with; None for arms without any.

    These are the images up to the best round. Where the harm guard found round 0 best, the arm
    still takes every accepted image, so that the report can show what they do; `choose_arm` then
    keeps such a model from being used. Where the run enlarged them, it takes those.
    """
    from sonobalance.data.loading import load_images
    from sonobalance.synthesis.summary import training_images

    if TREATMENTS[arm].objective is None:
        return None
    check_chain(run, (ACCEPTED,))
    folder = run.path("synthesis")
    accepted = training_images(folder)
    if TREATMENTS[arm].one_shot or not len(accepted):
        accepted = training_images(folder, every_round=True)
    if TREATMENTS[arm].one_shot:
        accepted = accepted.select(key for key in accepted.ids if key.startswith("r1-"))
    seen = as_seen(accepted)
    return load_images(seen, size_px, classes, "synthetic") if len(seen) else None


def prediction_table(
    arm: str, splits: Splits, images: Manifest, probabilities: NDArray[np.floating]
) -> pd.DataFrame:
    """What an arm says about real images, (N, K) probabilities, as rows of `predictions.csv`."""
    import pandas as pd

    classes = splits.manifest.classes
    rows = [
        {
            "arm": arm, "id": r.id, "path": r.path, "part": splits.part[r.id], "label": r.label,
            "group": splits.group[r.id], "predicted": classes[int(p.argmax())],
        } | {f"p_{name}": float(value) for name, value in zip(classes, p, strict=True)}
        for r, p in zip(images, probabilities, strict=True)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def choose_arm(run: Run) -> dict[str, object]:
    """Which arm becomes the model: the best macro-F1 on VAL, never on TEST; ties keep the first.

    An arm whose synthetic images the harm guard found useless on the inner validation is not
    eligible (see `synthesis.json`). The digests make what follows depend on the weights.
    """
    pages = {arm: run.path(f"classifier/{arm}/model.json") for arm in trained_arms(run)}
    scores = {arm: read_json(page)["validation"]["macro_f1"] for arm, page in pages.items()}
    barred = guarded(run)
    allowed = [arm for arm in scores if arm in CHEAP or not barred]
    return {
        "chosen": max(allowed, key=lambda arm: scores[arm]), "val_macro_f1": scores,
        "guarded": barred, "model_json_sha256": {a: sha256_of(page) for a, page in pages.items()},
    }  # fmt: skip
