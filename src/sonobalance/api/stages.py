"""One function per stage, each returning the path of what it made.

Stages after `audit` work on a run folder, take their settings from it, and accept their own section
as an override.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from sonobalance import pipeline
from sonobalance.config import (
    AuditSettings,
    ClassifierSettings,
    DataSettings,
    EvaluationSettings,
    ExplanationSettings,
    GanSettings,
    SplitSettings,
    SynthesisSettings,
)
from sonobalance.errors import InputError


def index(
    folder: Path,
    *,
    out: Path,
    data: DataSettings | None = None,
    redo: bool = False,
) -> Path:
    """List the images of a folder with labels, masks, patients and hashes.

    Writes `manifest.csv`. Broken images are listed in `run.json` and skipped.

    Args:
        folder: class folders (of DICOM, too), BUSI, BUS-BRA, BUS-UCLM, an index CSV or Parquet,
            or a MedMNIST .npz.
        out: run folder to start or go on with.
        data: how files are read.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: the folder is missing, or holds fewer than two classes or than three independent
            images of a class.
    """
    return pipeline.begin(folder, out, "index", {"data": data}, redo=redo) / "manifest.csv"


def audit(
    folder: Path,
    *,
    out: Path,
    data: DataSettings | None = None,
    audit: AuditSettings | None = None,
    clean_marks: bool | None = None,
    redo: bool = False,
) -> Path:
    """Find near-duplicates, label conflicts, burnt-in marks and shortcuts.

    Writes `audit.json`, `groups.csv`, `marks.csv` and `audit.html`; indexes first where needed.

    Args:
        folder: class folders (of DICOM, too), BUSI, BUS-BRA, BUS-UCLM, an index CSV or Parquet,
            or a MedMNIST .npz.
        out: run folder to start or go on with.
        data: how files are read.
        audit: what is looked for.
        clean_marks: let later stages of this run folder paint over the marks that were found, or
            let them be; by default as it was.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: see `index`.
    """
    given = {"data": data, "audit": audit, "clean_marks": clean_marks}
    return pipeline.begin(folder, out, "audit", given, redo=redo) / "audit.html"


def split(run: Path, *, split: SplitSettings | None = None, redo: bool = False) -> Path:
    """Deal groups to TRAIN, VAL, TEST and folds so that no relative crosses.

    Writes `splits.csv`, and `folds.csv` with the folds of every repeat of the cross-validation.

    Args:
        run: run folder with an audit.
        split: shares, folds, what to do with label conflicts.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: a class has too few independent groups.
        StaleError: it was done with other settings or inputs, or its result was edited, and `redo`
            is False; or what it reads does not follow from what the run holds now.
    """
    return pipeline.continue_run(run, "split", {"split": split}, redo=redo) / "splits.csv"


def train_gan(
    run: Path,
    *,
    weights: Path | None = None,
    gan: GanSettings | None = None,
    redo: bool = False,
) -> Path:
    """Train the class-conditional generator and its discriminators on TRAIN only.

    Writes `gan/snapshot.safetensors`, `gan/stats.jsonl` and sample grids.

    Args:
        run: run folder with splits.
        weights: backbone weights, safetensors in timm's names, of the frozen features and of the
            classifier of later stages; by default as recorded in the run.
        gan: objective, size, length.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: there are no such weights.
        LeakError: an image outside TRAIN would be opened.
        CollapseError: the generator collapsed before any good snapshot.
        StaleError: it was done with other settings or inputs, or its result was edited, and `redo`
            is False; or what it reads does not follow from what the run holds now.
    """
    classifier = None if weights is None else pipeline.classifier_from(weights)
    given = {"gan": gan, "classifier": classifier}
    return pipeline.continue_run(run, "train-gan", given, redo=redo) / "gan"


def synthesize(
    run: Path, *, synthesis: SynthesisSettings | None = None, redo: bool = False
) -> Path:
    """Generate, score, gate and add images for the rare classes, round by round.

    Writes `synthesis/`: images, `manifest.csv`, `selection.csv`, `rounds.csv`, `synthesis.json`.

    Args:
        run: run folder with a trained GAN.
        synthesis: targets, gates, stop rules.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        LeakError: an image outside TRAIN would be opened.
        SettingsError: the targets name no class of the run.
        StaleError: it was done with other settings or inputs, or its result was edited, and `redo`
            is False; or what it reads does not follow from what the run holds now.
    """
    return (
        pipeline.continue_run(run, "synthesize", {"synthesis": synthesis}, redo=redo) / "synthesis"
    )


def train(run: Path, *, classifier: ClassifierSettings | None = None, redo: bool = False) -> Path:
    """Train the attention classifier of every arm; VAL, real images only, calibrates and compares.

    Writes `classifier/ARM/`: weights, `model.json`, log.

    Args:
        run: run folder with splits and, for synthesis arms, accepted images.
        classifier: backbone, attention, recipe.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: the weights do not fit the backbone.
        LeakError: a synthetic image stands in VAL, or a model to start from has seen VAL or TEST.
        StaleError: it was done with other settings or inputs, or its result was edited, and `redo`
            is False; or what it reads does not follow from what the run holds now.
    """
    return pipeline.continue_run(run, "train", {"classifier": classifier}, redo=redo) / "classifier"


def predict(
    source: Path,
    *paths: Path,
    out: Path | None = None,
    layout: Literal["csv", "jsonl"] = "csv",
    frames_per_clip: int = 1,
    batch_size: int = 16,
    redo: bool = False,
) -> Path | int:
    """Predict images with a bundle, or VAL and TEST of a run with the classifier of every arm.

    Of a bundle, a table goes to standard output or `--out`: predicted class, refusal, conformal
    set, calibrated probabilities; a file that cannot be read gets a row that says why. The exit
    code is 0 when every file could be read and 3 when some could not. Of a run folder, it writes
    `predictions.csv` there.

    Args:
        source: a bundle (folder or ZIP) with images behind it, or a run folder alone.
        paths: images and folders of images, DICOM included.
        out: of a bundle: file for the table.
        layout: of a bundle: csv, or jsonl for one JSON object per line.
        frames_per_clip: of a bundle: evenly spaced frames taken of a clip; 1 is the middle one.
        batch_size: of a bundle: images per forward pass.
        redo: of a run: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: the bundle or run cannot be used, no file could be read, or an option of a
            bundle was given with a run.
    """
    if not pipeline.is_run(source) or paths:
        from sonobalance.deployment.command import predict_paths

        return predict_paths(
            source, paths, out, layout, frames_per_clip=frames_per_clip, batch_size=batch_size
        )
    _check_unused(
        source,
        {"out": out is not None, "layout": layout != "csv",
         "frames-per-clip": frames_per_clip != 1, "batch-size": batch_size != 16},
    )  # fmt: skip
    return pipeline.continue_run(source, "predict", {}, redo=redo) / "predictions.csv"


def _check_unused(run: Path, given: Mapping[str, bool]) -> None:
    for name, is_given in given.items():
        if is_given:
            raise InputError(
                f"Expected no --{name} with the run folder {run}, whose predictions.csv is written "
                "there by its own settings; leave it out, or give a bundle with images."
            )


def evaluate(
    run: Path, *, evaluation: EvaluationSettings | None = None, redo: bool = False
) -> Path:
    """Measure the predictions file, never a model: metrics, intervals, paired differences.

    Writes `evaluation.json`.

    Args:
        run: run folder with predictions.
        evaluation: resamples, level, bins.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: there are no predictions.
        StaleError: it was done with other settings or inputs, or its result was edited, and `redo`
            is False; or what it reads does not follow from what the run holds now.
    """
    return (
        pipeline.continue_run(run, "evaluate", {"evaluation": evaluation}, redo=redo)
        / "evaluation.json"
    )


def explain(
    run: Path, *, explanation: ExplanationSettings | None = None, redo: bool = False
) -> Path:
    """Map the evidence for each decision on TEST and measure the maps against lesion masks.

    Writes `explanation.json` and `maps/`.

    Args:
        run: run folder with predictions.
        explanation: maps and gallery.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: there are no predictions.
        StaleError: it was done with other settings or inputs, or its result was edited, and `redo`
            is False; or what it reads does not follow from what the run holds now.
    """
    return (
        pipeline.continue_run(run, "explain", {"explanation": explanation}, redo=redo)
        / "explanation.json"
    )


def report(run: Path) -> Path:
    """Write one self-contained HTML page from the files of a run.

    Stages that were not done are named in the page instead of their results.

    Args:
        run: run folder, finished or not.

    Raises:
        InputError: it is not a run folder.
        StaleError: a result in it does not follow from what the run holds now.
    """
    return pipeline.continue_run(run, "report", {}, redo=False) / "report.html"
