"""One function per stage; the command of the same name is the same function.

Every function returns the path of what it made. Stages after `audit` work on a run folder, take
their settings from it, and accept their own section as an override.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sonobalance import pipeline
from sonobalance.config import (
    AuditSettings,
    ClassifierSettings,
    DataSettings,
    EvaluationSettings,
    ExplanationSettings,
    GanSettings,
    Preset,
    Settings,
    SplitSettings,
    SynthesisSettings,
)

Flat = Parameter(name="*")


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


def run(
    folder: Path,
    *,
    out: Path,
    preset: Preset | None = None,
    config: Path | None = None,
    weights: Path | None = None,
    redo: bool = False,
    dry_run: bool = False,
    settings: Annotated[Settings, Flat] = Settings(),  # noqa: B008 - frozen
) -> Path:
    """Do everything: from a folder of images to a report.

    Give the same command again after an interruption and it goes on where it was.

    Args:
        folder: class folders, a BUSI tree, or an index CSV.
        out: run folder to start or go on with.
        preset: demo, cpu or gpu.
        config: TOML file with settings; the command line wins over it.
        weights: backbone weights, safetensors in timm's names (short for --classifier.weights).
        redo: repeat stages whose inputs or settings changed.
        dry_run: print the resolved settings and an estimate of time, memory and disk; do nothing.
        settings: every setting, by its dotted name.

    Raises:
        InputError: the folder or a file cannot be used.
        SettingsError: a setting is unknown or out of range.
        StaleError: a finished stage was made with other settings or inputs.
    """
    resolved = pipeline.resolve_all(preset, config, weights, settings)
    if dry_run:
        return pipeline.show_plan(folder, out, resolved)
    return pipeline.run_all(folder, out, resolved, preset=preset, redo=redo)


def benchmark(
    folder: Path,
    *,
    out: Path,
    folds: int = 5,
    seeds: int = 1,
    preset: Preset | None = None,
    config: Path | None = None,
    weights: Path | None = None,
    redo: bool = False,
    settings: Annotated[Settings, Flat] = Settings(),  # noqa: B008 - frozen
) -> Path:
    """Compare arms over grouped folds and seeds: is synthesis worth more than cheap rebalancing?

    Writes `benchmark.json`, tables and every prediction. Resumable: each fold and seed is a run.

    Args:
        folder: class folders, a BUSI tree, or an index CSV.
        out: folder of the benchmark.
        folds: grouped cross-validation folds.
        seeds: repetitions with other seeds.
        preset: demo, cpu or gpu.
        config: TOML file with settings; the command line wins over it.
        weights: backbone weights, safetensors in timm's names (short for --classifier.weights).
        redo: repeat stages whose inputs or settings changed.
        settings: every setting, by its dotted name; `--arms` chooses what is compared.
    """
    from sonobalance.comparison import run_benchmark

    resolved = pipeline.resolve_all(preset, config, weights, settings)
    return run_benchmark(folder, out, resolved, folds=folds, seeds=seeds, preset=preset, redo=redo)


def demo(
    *,
    out: Path = Path("runs/demo"),
    images: int = 160,
    redo: bool = False,
    settings: Annotated[Settings, Flat] = Settings(),  # noqa: B008 - frozen
) -> Path:
    """Make a phantom data set and run the whole pipeline on it in a few minutes.

    Args:
        out: folder for the phantoms and the run.
        images: phantoms to make.
        redo: repeat stages whose inputs or settings changed.
        settings: every setting, by its dotted name, over the preset `demo`.
    """
    from sonobalance.data.phantoms import make_phantoms

    phantoms = out / "phantoms"
    if not (phantoms / "truth.json").is_file():
        make_phantoms(phantoms, images=images, seed=settings.seed)
    resolved = pipeline.resolve_all("demo", None, None, settings)
    return pipeline.run_all(phantoms, out / "run", resolved, preset="demo", redo=redo)


def fetch(name: str, *, out: Path, url: str = "") -> Path:
    """Download a public data set after showing its licence and citation.

    Resumes, verifies and unpacks safely; the folder it returns can be given to `run`.

    Args:
        name: busi, bus-bra, bus-uclm or breastmnist.
        out: folder for the data sets.
        url: another address of the same archive, such as a mirror of your institution.

    Raises:
        InputError: the name is unknown, or the download or the archive is not what it should be.
    """
    from sonobalance.data import fetch as fetching
    from sonobalance.data.catalogue import notice
    from sonobalance.progress import console

    console.print(notice(name))
    return fetching.fetch(name, out, url=url)


def doctor(*, out: Path = Path()) -> int:
    """Say what is installed, which device will be used, and what is wrong.

    Args:
        out: where runs would be written.

    Returns:
        0 when nothing is wrong, 1 otherwise.
    """
    from sonobalance.diagnosis import diagnose

    return diagnose(out)
