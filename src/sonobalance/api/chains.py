"""Whole roads: every stage, a demonstration of it, and its repetition over folds and arms."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from sonobalance import pipeline
from sonobalance.config import Preset, Settings

Flat = Parameter(name="*")


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

    Give the same command again after an interruption and it goes on where it was. A generator is
    trained when one of `--arms` needs it.

    Args:
        folder: class folders (of DICOM, too), BUSI, BUS-BRA, BUS-UCLM, an index CSV or Parquet,
            or a MedMNIST .npz.
        out: run folder to start or go on with.
        preset: demo, cpu (128 px), gpu (128 px, larger) or gpu256.
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
    folds: int | None = None,
    seeds: int = 1,
    subset: Path | None = None,
    external: Path | None = None,
    scarce: float = 1.0,
    scarce_class: str = "malignant",
    executor: Literal["local", "processes", "ray"] = "local",
    unit_cpus: int = 1,
    preset: Preset | None = None,
    config: Path | None = None,
    weights: Path | None = None,
    redo: bool = False,
    settings: Annotated[Settings, Flat] = Settings(),  # noqa: B008 - frozen
) -> Path:
    """Compare arms over grouped folds and seeds: is synthesis worth more than cheap rebalancing?

    Writes `benchmark.json`, `.csv`, `.tex`, `.html`, `benchmark-paired.csv`, `predictions.csv`
    and, with `external`, `external.csv`.
    Resumable: each arm on each fold with each seed is a run of its own in `units/`, and none is
    done twice.

    Args:
        folder: class folders (of DICOM, too), BUSI, BUS-BRA, BUS-UCLM, an index CSV or Parquet,
            or a MedMNIST .npz.
        out: folder of the benchmark.
        folds: grouped cross-validation folds (else `split.folds`, which is 5);
            `--split.official-csv` brings published ones, `--split.leaky` splits image by image,
            for comparison with papers only.
        seeds: repetitions with other folds and other random choices.
        subset: CSV whose first column names the images to use (short for --split.subset-csv).
        external: another data set that every model is tested on; the setting
            `evaluation.external_classes` matches classes of other names.
        scarce: share of the groups of `scarce_class` that stays in TRAIN.
        scarce_class: the class that is made scarcer.
        executor: `local` does one unit after the other, `processes` as many at a time as this
            machine's cores allow, `ray` spreads them over the cluster in RAY_ADDRESS; there, `out`
            must be on a disk that every machine sees.
        unit_cpus: cores given to each unit by `processes` and `ray`.
        preset: demo, cpu (128 px), gpu (128 px, larger) or gpu256.
        config: TOML file with settings; the command line wins over it.
        weights: backbone weights, safetensors in timm's names (short for --classifier.weights).
        redo: repeat index, audit and split where inputs or settings changed.
        settings: every setting, by its dotted name; `--arms` chooses what is compared.

    Raises:
        InputError: the data or a table do not allow the comparison, or a process or worker was
            lost.
        SettingsError: a setting is unknown or out of range, or one that the arms vary is set.
        StaleError: index, audit or split changed since, and `redo` is False.
    """
    from sonobalance.comparison.benchmark import run_benchmark
    from sonobalance.comparison.protocol import Protocol

    resolved = pipeline.resolve_all(preset, config, weights, settings)
    wanted = resolved.split.folds if folds is None else folds
    protocol = Protocol(wanted, seeds, external, scarce=scarce, scarce_class=scarce_class)
    if subset:
        split = resolved.split.model_copy(update={"subset_csv": subset.absolute()})
        resolved = resolved.model_copy(update={"split": split})
    return run_benchmark(
        folder, out, resolved, protocol,
        preset=preset, executor=executor, unit_cpus=unit_cpus, redo=redo,
    )  # fmt: skip


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

    Raises:
        InputError: the folder has other phantoms, of another number or seed.
    """
    from sonobalance.data.phantoms import make_phantoms

    phantoms = out / "phantoms"
    make_phantoms(phantoms, images=images, seed=settings.seed)
    resolved = pipeline.resolve_all("demo", None, None, settings)
    return pipeline.run_all(phantoms, out / "run", resolved, preset="demo", redo=redo)
