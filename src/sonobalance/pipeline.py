"""Chaining stages: begin a run, go on with it, or do all of it; and say what it would cost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from rich.table import Table

from sonobalance import runs
from sonobalance.arms import need_generator
from sonobalance.artefacts import collapsed, manifest_of
from sonobalance.chain import follows
from sonobalance.config import ClassifierSettings, Preset, Section, Settings
from sonobalance.errors import CollapseError, InputError, SettingsError
from sonobalance.layers import resolve
from sonobalance.locking import locked
from sonobalance.notice import NOTICE
from sonobalance.progress import console
from sonobalance.record import FINISHED, RECORD
from sonobalance.reporting.formatting import plural
from sonobalance.runs import Run
from sonobalance.stages import GAN_STAGES, STAGES


def resolve_all(
    preset: Preset | None, config: Path | None, weights: Path | None, given: Settings
) -> Settings:
    """Merge preset, TOML, command line and the `--weights` shorthand, and see that all is there."""
    from sonobalance.classify.weights import check_start

    resolved = resolve(preset, config, given)
    if weights is not None:
        resolved = resolve(base=resolved, given=Settings(classifier=classifier_from(weights)))
    check_start(resolved.classifier)
    return resolved


def tell_of_scratch(settings: Settings) -> None:
    """Say what begins without pretrained weights, if anything, and how to give them."""
    classifier = settings.classifier
    if classifier.weights:
        return
    if not (classifier.pretrained or classifier.init):
        console.print(
            "Without pretrained weights every network starts from scratch, which a few hundred "
            "images are too few for; give --weights FILE, or --classifier.pretrained, which "
            "downloads them for the classifier alone.", style="yellow",
        )  # fmt: skip
    elif need_generator(settings):
        console.print(
            "Without --weights FILE discriminators and gates see pixels alone, and synthetic "
            "images are not enlarged as learnt: pretrained weights are the classifier's only.",
            style="yellow",
        )


def classifier_from(weights: Path) -> ClassifierSettings:
    """The classifier's settings with nothing but its pretrained weights set."""
    if not weights.is_file():
        raise InputError(f"Expected weights at {weights}, but there is no such file.")
    return ClassifierSettings(weights=weights.absolute())


def begin(
    folder: Path, out: Path, stage: str, given: Mapping[str, Section | bool | None], *, redo: bool
) -> Path:
    """Do `index`, or `index` and `audit`, in a new or existing run folder."""
    check_source(folder)
    with locked(out):
        known = runs.open_run(out).settings if (out / RECORD).is_file() else None
        run = runs.create(out, folder, resolve(given=_settings(given), base=known), None)
        if stage == "index" or not run.edited(STAGES["index"]):
            run.perform(STAGES["index"], redo=redo)
        if stage == "audit":
            run.perform(STAGES["audit"], redo=redo)
        run.save()  # settings for later stages, even where these were finished
    return out


def continue_run(
    folder: Path, stage: str, given: Mapping[str, Section | None], *, redo: bool
) -> Path:
    """Do one stage of an existing run folder with its recorded settings and these overrides."""
    known = runs.open_run(folder)
    run = Run(folder, resolve(given=_settings(given), base=known.settings), known.record)
    if stage == "train-gan" and _helps(run.settings):
        STAGES[stage].work(run)  # the first machine holds the folder and keeps the record
        return folder
    with locked(folder):
        done = run.record["stages"].get(stage, {}).get("status") == FINISHED
        if stage == "train-gan" and not done and _announceable(run):
            _announce(run, "train-gan and synthesize")
        run.perform(STAGES[stage], redo=redo)
    return folder


def run_all(
    folder: Path, out: Path, settings: Settings, *, preset: Preset | None, redo: bool
) -> Path:
    """Do every stage that is not finished; returns the report."""
    check_source(folder)
    if _helps(settings):
        raise SettingsError(
            f"Expected `train-gan {out} --gan.nodes {settings.gan.nodes}` on every machine but the "
            "first (NODE_RANK is not 0), which alone does the other stages; give that."
        )
    if preset != "demo":  # whose phantoms are learnt from scratch
        tell_of_scratch(settings)
    with locked(out):
        _check_cleaning(out, settings)
        run = runs.create(out, folder, settings, preset)
        for number, stage in enumerate(STAGES.values(), start=1):
            if stage.name == "audit" and "audit" not in run.record["stages"]:
                _announce(run, "together")
            console.print(f"{number}/{len(STAGES)} {stage.name}", style="bold")
            if reason := _reason_to_skip(stage.name, run):
                console.print(f"  skipped: {reason}")
                if redo and not follows(run, (f"{name}?" for name in stage.writes)):
                    run.forget(stage)  # it has seen images that may be VAL or TEST now
                continue
            try:
                if not run.perform(stage, redo=redo):
                    console.print("  finished before, kept")
            except CollapseError as error:
                run.forget(STAGES["synthesize"])  # of an earlier generator
                console.print(f"  {error} Going on without synthesis.")
    console.print(NOTICE)
    return out / "report.html"


def _check_cleaning(out: Path, settings: Settings) -> None:
    """What `audit --clean-marks` asked for is not forgotten without a word."""
    if not (out / RECORD).is_file() or "clean_marks" in settings.model_fields_set:
        return
    if (before := runs.open_run(out).settings.clean_marks) != settings.clean_marks:
        was = "on" if before else "off"
        raise SettingsError(
            f"Expected --clean-marks or --no-clean-marks, as clean_marks is {was} in {out} and "
            "this command does not say whether it stays so."
        )


def _helps(settings: Settings) -> bool:
    """Whether this machine only takes part in a training that the first one leads and records."""
    return settings.gan.nodes > 1 and os.environ.get("NODE_RANK", "0") != "0"


def _reason_to_skip(stage: str, run: Run) -> str:
    if stage in GAN_STAGES and not need_generator(run.settings):
        return "no arm trains with generated images"
    return "there is no generator" if stage == "synthesize" and collapsed(run) else ""


def _announceable(run: Run) -> bool:
    """Whether the estimate has a row of the generator: images are dealt and an arm wants one."""
    return run.path("splits.csv").is_file() and need_generator(run.settings)


def _announce(run: Run, stage: str) -> None:
    """What a row of the estimate will take, once the images are counted."""
    from sonobalance.plan import estimate, words_for

    row = {cost.stage: cost for cost in estimate(len(manifest_of(run)), run.settings)}[stage]
    what = "" if stage == "together" else f" for {stage}"
    console.print(
        f"About {plural(max(1, round(row.minutes)), 'minute')} and {row.memory_gib:.1f} "
        f"GiB of memory{what} on {words_for(run.settings)} as busy as it is now; `run --dry-run` "
        "tells what takes how long."
    )


def is_run(folder: Path) -> bool:
    """Whether a path is a run folder."""
    return (folder / RECORD).is_file()


def check_source(folder: Path) -> None:
    """Raise `InputError` unless the folder or index file is there."""
    if not folder.exists():
        raise InputError(f"Expected a folder of images at {folder}, but there is none.")


def show_plan(folder: Path, out: Path, settings: Settings) -> Path:
    """Print the resolved settings and an estimate of time, memory and disk; writes nothing."""
    from sonobalance.data.extent import count_images
    from sonobalance.plan import estimate, words_for

    check_source(folder)
    tell_of_scratch(settings)
    console.print_json(settings.model_dump_json())
    table = Table(
        "stage", "minutes", "memory GiB", "disk MiB", title=f"Estimate on {words_for(settings)}"
    )
    for row in estimate(count_images(folder, settings.data), settings):
        table.add_row(
            row.stage, f"{row.minutes:.1f}", f"{row.memory_gib:.1f}", f"{row.disk_mib:.0f}"
        )
    console.print(table)
    return out


def _settings(given: Mapping[str, Section | bool | None]) -> Settings:
    """Settings in which only the given sections count as set."""
    return Settings.model_validate(
        {name: value for name, value in given.items() if value is not None}
    )
