"""One function per stage, each returning the path of what it made.

Stages after `audit` work on a run folder, take their settings from it, and accept their own section
as an override.
"""

from __future__ import annotations

from pathlib import Path

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
        folder: class folders, a BUSI tree, or an index CSV.
        out: run folder to start or go on with.
        data: how files are read.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: the folder is missing, or a class has no or one readable image.
    """
    return pipeline.begin(folder, out, "index", {"data": data}, redo=redo) / "manifest.csv"


def audit(
    folder: Path,
    *,
    out: Path,
    data: DataSettings | None = None,
    audit: AuditSettings | None = None,
    redo: bool = False,
) -> Path:
    """Find near-duplicates, label conflicts, burnt-in marks and shortcuts.

    Writes `audit.json`, `groups.csv`, `marks.csv` and `audit.html`; indexes first where needed.

    Args:
        folder: class folders, a BUSI tree, or an index CSV.
        out: run folder to start or go on with.
        data: how files are read.
        audit: what is looked for.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: see `index`.
    """
    return (
        pipeline.begin(folder, out, "audit", {"data": data, "audit": audit}, redo=redo)
        / "audit.html"
    )


def split(run: Path, *, split: SplitSettings | None = None, redo: bool = False) -> Path:
    """Deal groups to TRAIN, VAL, TEST and folds so that no relative crosses.

    Writes `splits.csv`.

    Args:
        run: run folder with an audit.
        split: shares, folds, what to do with label conflicts.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: a class has too few independent groups.
    """
    return pipeline.continue_run(run, "split", {"split": split}, redo=redo) / "splits.csv"


def train_gan(run: Path, *, gan: GanSettings | None = None, redo: bool = False) -> Path:
    """Train the class-conditional generator and its discriminators on TRAIN only.

    Writes `gan/snapshot.safetensors`, `gan/stats.jsonl` and sample grids.

    Args:
        run: run folder with splits.
        gan: objective, size, length.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        LeakError: an image outside TRAIN would be opened.
        CollapseError: the generator collapsed before any good snapshot.
    """
    return pipeline.continue_run(run, "train-gan", {"gan": gan}, redo=redo) / "gan"


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
    """
    return (
        pipeline.continue_run(run, "synthesize", {"synthesis": synthesis}, redo=redo) / "synthesis"
    )


def train(run: Path, *, classifier: ClassifierSettings | None = None, redo: bool = False) -> Path:
    """Train the attention classifier of every arm; VAL, real images only, stops it.

    Writes `classifier/ARM/`: weights, `model.json`, log.

    Args:
        run: run folder with splits and, for synthesis arms, accepted images.
        classifier: backbone, attention, recipe.
        redo: repeat the stage even if its inputs or settings changed.

    Raises:
        InputError: the weights do not fit the backbone.
    """
    return pipeline.continue_run(run, "train", {"classifier": classifier}, redo=redo) / "classifier"


def predict(run: Path, *, redo: bool = False) -> Path:
    """Predict VAL and TEST with the classifier of every arm.

    Writes `predictions.csv`.

    Args:
        run: run folder with trained classifiers.
        redo: repeat the stage even if its inputs or settings changed.
    """
    return pipeline.continue_run(run, "predict", {}, redo=redo) / "predictions.csv"


def evaluate(
    run: Path, *, evaluation: EvaluationSettings | None = None, redo: bool = False
) -> Path:
    """Measure the predictions file, never a model: metrics, intervals, paired differences.

    Writes `evaluation.json`.

    Args:
        run: run folder with predictions.
        evaluation: resamples, level, bins.
        redo: repeat the stage even if its inputs or settings changed.
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
    """
    return pipeline.continue_run(run, "report", {}, redo=True) / "report.html"
