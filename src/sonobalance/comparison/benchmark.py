"""Arms over folds and seeds: what synthesis is worth against cheap rebalancing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from rich.live import Live

from sonobalance import runs
from sonobalance.arms import CHEAP
from sonobalance.artefacts import device_of, manifest_of, splits_of
from sonobalance.comparison.command import command_of
from sonobalance.comparison.external import External, open_external
from sonobalance.comparison.guarded import with_guarded
from sonobalance.comparison.live import table_of
from sonobalance.comparison.outcome import collapses, environments, refusals, write_outcome
from sonobalance.comparison.pooling import blocks_by_arm, external_blocks, external_ensembles
from sonobalance.comparison.processes import perform_in_processes
from sonobalance.comparison.protocol import Protocol, describe, folds_of
from sonobalance.comparison.relatives import by_relatives
from sonobalance.comparison.units import Unit, units_of
from sonobalance.comparison.verdict import CONTROL, ONE_SHOT
from sonobalance.comparison.work import finished, perform, prepare
from sonobalance.config import Arm, Preset, Settings
from sonobalance.errors import SettingsError
from sonobalance.evaluation.pairing import METHOD
from sonobalance.evaluation.repeated import evaluate_repeated
from sonobalance.locking import locked
from sonobalance.pipeline import check_source, tell_of_scratch
from sonobalance.progress import console
from sonobalance.reporting.formatting import plural
from sonobalance.runs import Run
from sonobalance.stages import STAGES

Executor = Literal["local", "processes", "ray"]
Execute = Callable[[Sequence[Unit]], Iterator[Unit]]
DEFAULT_ARMS: tuple[Arm, ...] = (
    "probe", "none", "class-weights", "over-sampling", "focal", "strong-augmentation", "single",
    "dual-one-shot", "dual-iterative",
)  # fmt: skip
REFERENCES = (*CHEAP, CONTROL, ONE_SHOT)
EXTERNAL_METHOD = (
    "Each model of the cross-validation was tested on the whole external set, of which nothing "
    "was used before; the mean over the models is reported. Intervals: paired bootstrap of the "
    "external set's groups; the trained models are taken as given."
)
ENSEMBLE_METHOD = (
    "Together: the mean probability of all folds' models of a seed, which is what one would use on "
    "images that none of them was trained on; the mean over seeds is reported."
)


def run_benchmark(
    folder: Path,
    out: Path,
    settings: Settings,
    protocol: Protocol,
    *,
    preset: Preset | None = None,
    executor: Executor = "local",
    unit_cpus: int = 1,
    redo: bool = False,
) -> Path:
    """Do every unit that is not finished, then write `benchmark.json` and its tables.

    Raises:
        InputError: the data or a CSV do not allow the comparison.
        SettingsError: the settings do not allow it.
    """
    check_source(folder)
    if unit_cpus < 1:
        raise SettingsError(f"Expected --unit-cpus ≥ 1, but got {unit_cpus}.")
    if protocol.external:
        check_source(protocol.external)
    _check_arms(settings)
    tell_of_scratch(settings)
    arms = settings.arms or DEFAULT_ARMS
    out = out.absolute()
    with locked(out):
        base = _base(folder, out, settings, protocol, preset, redo=redo)
        folds = folds_of(base, protocol)
        units = list(units_of(base, folds, arms))
        external = (
            open_external(protocol.external, out, base, redo=redo) if protocol.external else None
        )
        execute = _executor(executor, external, unit_cpus)
        _perform_all(units, base, arms, external, execute)
        document = _document(units, base, protocol, preset)
        document["external"] = _external(units, base, external) if external else None
        return write_outcome(out, document, units, external.name if external else None)


def _check_arms(settings: Settings) -> None:
    """The settings that the arms vary must be at rest, or `none` would not mean none."""
    classifier = settings.classifier
    if (
        classifier.balance != "none"
        or classifier.focal_gamma
        or classifier.augmentation == "strong"
    ):
        raise SettingsError(
            "Expected classifier.balance=none, focal_gamma=0 and no strong augmentation, since "
            "the arms of the benchmark vary these; leave them at their defaults."
        )


def _base(
    folder: Path,
    out: Path,
    settings: Settings,
    protocol: Protocol,
    preset: Preset | None,
    *,
    redo: bool,
) -> Run:
    """Index, audit and split, once for all units."""
    split = settings.split.model_copy(update={"folds": protocol.folds})
    shared = settings.model_copy(update={"split": split, "arms": ()})
    place = out / "base"
    place.mkdir(parents=True, exist_ok=True)
    base = runs.create(place, folder, shared, preset)
    for name in ("index", "audit", "split"):
        base.perform(STAGES[name], redo=redo)
    return base


def _perform_all(
    units: Sequence[Unit],
    base: Run,
    arms: Sequence[Arm],
    external: External | None,
    execute: Execute,
) -> None:
    """Do what is left, showing the table as it grows."""
    done = [unit for unit in units if finished(unit, external)]
    left = [unit for unit in units if unit not in done]
    if done:
        console.print(f"{len(done)} of {len(units)} units were finished before.")
    _announce(left, base)
    for unit in left:
        prepare(unit, base)
    with Live(table_of(done, units, arms), console=console, auto_refresh=False) as live:
        for unit in execute(left):
            done.append(unit)
            console.print(f"{len(done)}/{len(units)} {unit.title}", style="bold")
            live.update(table_of(done, units, arms), refresh=True)


def _announce(left: Sequence[Unit], base: Run) -> None:
    """What is left to do, were it done here on the CPU; a GPU is left to the units."""
    from sonobalance.plan import cost_of_units, words_for  # noqa: PLC0415 - imports torch

    if left and device_of(base).type == "cpu":
        arms = [unit.arm for unit in left if unit.arm]
        cost = cost_of_units(
            len(manifest_of(base)), base.settings, generators=len(left) - len(arms), arms=arms
        )
        minutes = plural(max(1, round(cost.minutes)), "minute")
        console.print(
            f"Units left: {len(left)}, about {minutes} one by one and {cost.memory_gib:.1f} GiB of "
            f"memory each on {words_for(base.settings)} as busy as it is now."
        )


def _executor(kind: Executor, external: External | None, unit_cpus: int) -> Execute:
    """How prepared units are done, each yielded when it is finished."""
    if kind == "ray":
        from sonobalance.comparison.cluster import perform_on_cluster  # noqa: PLC0415 - an extra

        return _longest_first(perform_on_cluster, external=external, cpus_per_unit=unit_cpus)
    if kind == "processes":
        return _longest_first(perform_in_processes, external=external, cpus_per_unit=unit_cpus)
    return partial(_one_by_one, external=external)


def _longest_first(perform_all: Callable[..., Iterator[Unit]], **given: Any) -> Execute:
    """Several at a time: GANs, which take longest and which arms wait for, before everything."""
    return lambda units: perform_all(sorted(units, key=lambda unit: unit.arm is not None), **given)


def _one_by_one(units: Sequence[Unit], external: External | None) -> Iterator[Unit]:
    for unit in units:
        perform(unit.folder, unit.arm, external)
        yield unit


def _document(
    units: Sequence[Unit], base: Run, protocol: Protocol, preset: Preset | None
) -> dict[str, Any]:
    settings = base.settings
    folds = list(dict.fromkeys(unit.fold for unit in units))
    described = describe(base, protocol, folds)
    arms = with_guarded(blocks_by_arm(units), units)
    evaluate = partial(
        evaluate_repeated, classes=splits_of(base).manifest.classes, settings=settings.evaluation,
        seed=settings.seed, test_to_train=described["test_to_train"],
    )  # fmt: skip
    result = evaluate(arms, references=REFERENCES)
    if settings.split.leaky:
        result["relatives"] = by_relatives(arms, folds, partial(evaluate, references=()))
    described |= {
        "method": METHOD,
        "generators": sum(unit.arm is None for unit in units),
        "collapsed": collapses(units),
        "advised_against": refusals(units),
        "environments": environments(units),
    }
    command = command_of(base, protocol, preset, [u.arm for u in units if u.arm])
    return {**result, "protocol": described, "command": command}


def _external(units: Sequence[Unit], base: Run, external: External) -> dict[str, Any]:
    """How the models do on the external set: the mean over the models, and their ensembles."""
    evaluate = partial(
        evaluate_repeated, classes=external.classes, settings=base.settings.evaluation,
        seed=base.settings.seed, references=REFERENCES, test_to_train=None,
    )  # fmt: skip
    ensembles = evaluate(external_ensembles(units, external.name))
    return evaluate(external_blocks(units, external.name)) | {
        "ensemble": {"method": ENSEMBLE_METHOD, **{k: ensembles[k] for k in ("arms", "paired")}},
        "data": runs.open_run(external.folder).source.name,
        "class_map": dict(external.mapped),
        "left_out_as_shared": external.shared,
        "method": EXTERNAL_METHOD,
    }
