"""Train the GAN: autoencoder warm-up, then the game, in ticks that can be killed and resumed.

Each tick ends with a checkpoint, a row of `stats.jsonl`, and in the adversarial phase a grid and a
judgement: better than the best so far → new snapshot; too little diversity for too long → stop.
A tick with a number that is not finite ends the training at the checkpoint before it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from sonobalance.config import GanSettings
from sonobalance.data.loading import LabelledImages, to_unit
from sonobalance.errors import InputError
from sonobalance.files import append_line, keep_lines, sha256_of
from sonobalance.gan.augment import adapt
from sonobalance.gan.features import FrozenFeatures
from sonobalance.gan.judging import STATS, breakdown, conclude, judge
from sonobalance.gan.latents import encode_bank
from sonobalance.gan.places import SNAPSHOT, find_snapshot
from sonobalance.gan.steps import game_step, warmup_step, warmup_steps
from sonobalance.gan.training import Counters, Training, abandon, resume, save, start
from sonobalance.gan.warm_start import warm_start
from sonobalance.parallel import Crew
from sonobalance.precision import arithmetic
from sonobalance.progress import Bar, bar, console

CHECKPOINT = "checkpoint.safetensors"


def train_gan(
    images: LabelledImages,
    settings: GanSettings,
    *,
    seed: int,
    folder: Path,
    device: torch.device,
    total_kimg: float | None = None,
    groups: Sequence[str] | None = None,
    eyes: FrozenFeatures | None = None,
    goes_on: Callable[[], bool] = lambda: True,
    crew: Crew | None = None,
) -> Path:
    """Train, or go on training, and return the path of the best snapshot.

    Writes into `folder`: `checkpoint.safetensors` (exact resume), `stats.jsonl` (a row per tick),
    `grids/*.png`, `snapshot.safetensors` (the best so far, see `sampling.Sampler`), `gan.json`.
    Killed at any point and called again, it ends with the same snapshot as undisturbed (bit for bit
    on the CPU). Called when finished it returns at once; with a larger `total_kimg` it goes on.

    Args:
        images: TRAIN images only, letterboxed to `settings.image_size_px`.
        settings: see `GanSettings`.
        seed: of every random choice.
        folder: made if missing.
        device: where the networks live.
        total_kimg: thousand images of the adversarial phase in all, rounded up to whole snapshots;
            `settings.total_kimg` when None.
        groups: a key of relatives for each image, so that whole groups are held back for measuring;
            every image by itself when None.
        eyes: frozen pretrained features, for discriminators with a branch and for KID.
        crew: the processes that train together, see `parallel`; None for one.
        goes_on: asked after each snapshot; the training pauses there when it says no.

    Raises:
        InputError: images of another size, or none.
        StaleError: the folder holds a training of other images, settings or another seed.
        CollapseError: the generator collapsed, or the training broke down, before any good
            snapshot.
    """
    _check(images, settings)
    relatives = images.ids if groups is None else groups
    training = start(images, relatives, settings, seed=seed, device=device, eyes=eyes)
    training.crew = crew or Crew()
    if settings.init is not None:
        _start_from(settings.init, training)
    if (folder / CHECKPOINT).is_file():
        resume(folder / CHECKPOINT, training)
    done = training.counters.warmup_steps + training.counters.steps
    if training.crew.first:
        keep_lines(folder / STATS, "step", done)
    warmup_goal = warmup_steps(settings)
    goal = _goal_steps(settings, settings.total_kimg if total_kimg is None else total_kimg)
    left = training.counters.warmup_steps < warmup_goal or training.counters.steps < goal
    if left and not training.counters.collapsed:
        with bar("training GAN", warmup_goal + goal, done) as shown:
            _warm_up(training, warmup_goal, folder, shown)
            _play(training, goal, folder, shown, goes_on)
        counters = training.counters
        if training.crew.first and counters.stopped and counters.best is not None:
            console.print(counters.stopped)  # without a snapshot `conclude` raises it
    if training.crew.first:
        conclude(training, folder)
    return folder / SNAPSHOT


def _check(images: LabelledImages, settings: GanSettings) -> None:
    size = settings.image_size_px
    if len(images) == 0 or images.pixels.shape[1:] != (1, size, size):
        raise InputError(
            f"Expected at least one TRAIN image of (1, {size}, {size}), "
            f"but got {tuple(images.pixels.shape)}."
        )


def _start_from(given: Path, t: Training) -> None:
    path = find_snapshot(given)
    warm_start(t, path)
    t.started_from = sha256_of(path)


def _goal_steps(settings: GanSettings, total_kimg: float) -> int:
    """Steps of the adversarial phase: whole ticks, so that going on never meets half a tick."""
    return max(1, settings.ticks(total_kimg)) * settings.tick_steps


def _warm_up(t: Training, goal: int, folder: Path, shown: Bar) -> None:
    """Train the autoencoder, then encode the TRAIN images and start the average."""
    tick = t.settings.tick_steps
    t.encoder.train()
    while t.counters.warmup_steps < goal and not t.counters.stopped:
        steps = min(tick, goal - t.counters.warmup_steps)
        row = _timed(t, steps, shown, warmup_step)
        if _broke(t, folder, row):
            break
        _log(t, folder, {"stage": "warm-up"} | row)
        save(folder / CHECKPOINT, t)
    if t.bank is None and not t.counters.stopped:
        device = t.train.pixels.device
        filled = to_unit(t.train.pixels)
        t.bank = encode_bank(t.encoder, filled, t.train.targets, t.train.frames, device)
        t.average.load_state_dict(t.generator.state_dict())
        if not _broke(t, folder, {}):
            save(folder / CHECKPOINT, t)


def _play(t: Training, goal: int, folder: Path, shown: Bar, goes_on: Callable[[], bool]) -> None:
    """Run the game up to `goal` steps, or until it collapses, breaks down or gets no better.

    Where it got no better and more is asked for now, it goes on for a tick at least.
    """
    if goal > t.counters.goal and not t.counters.collapsed:
        t.counters.stopped = ""
    t.counters.goal = goal
    for network in t.discriminators.values():
        network.train()
    while t.counters.steps < goal and not t.counters.stopped:
        row = _timed(t, t.settings.tick_steps, shown, game_step)
        if _broke(t, folder, row):
            break
        settings, counters = t.settings, t.counters
        whole = next(iter(t.discriminators))  # patches are too many to be learnt by heart
        row["augment_probability"] = counters.probability
        counters.probability = adapt(
            counters.probability, row[f"certainty_{whole}"], settings.augment_target,
            settings.tick_kimg,
        )  # fmt: skip
        asked = _judged(t, folder, row, goes_on)
        _log(t, folder, {"stage": "adversarial"} | row)
        save(folder / CHECKPOINT, t)
        if not asked:
            break


def _broke(t: Training, folder: Path, row: dict[str, float]) -> bool:
    """Whether a number is not finite, in any process; the training then ends where it was saved."""
    wrong = [k for k, v in row.items() if not math.isfinite(v)] + t.not_finite()
    anywhere = t.crew.mean({"wrong": float(bool(wrong))}, t.train.pixels.device)["wrong"] > 0
    if anywhere:
        abandon(folder / CHECKPOINT, t, breakdown(t, wrong))
    return anywhere


def _judged(t: Training, folder: Path, row: dict[str, float], goes_on: Callable[[], bool]) -> bool:
    """The first process judges, and the others hear of it; whether the training goes on."""
    if t.crew.first:
        row |= judge(t, folder, row)
    known = {"counters": asdict(t.counters), "goes_on": goes_on()}
    told = t.crew.told_by_first(known, t.train.pixels.device)
    t.counters = Counters(**told["counters"])
    return bool(told["goes_on"])


def _timed(
    t: Training, steps: int, shown: Bar, step: Callable[[Training], dict[str, Tensor]]
) -> dict[str, float]:
    """Run `steps` steps; the mean of everything they log, and images per second."""
    began = time.monotonic()
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for i in range(steps):
        with arithmetic(t.settings.precision, t.train.pixels.device):
            logged = step(t)
        for key, value in logged.items():
            sums[key] = sums[key] + value if key in sums else value.clone()
            counts[key] = counts.get(key, 0) + 1
        speed = (i + 1) * t.settings.batch_size / (time.monotonic() - began)
        shown.advance(1, f"{speed:.0f} images/s{_quality(t.counters)}")
    elapsed = time.monotonic() - began
    t.counters.seconds += elapsed
    means = {key: float(value) / counts[key] for key, value in sums.items()}
    means = t.crew.mean(means, t.train.pixels.device)
    return means | {"images_per_second": round(steps * t.settings.batch_size / elapsed, 1)}


def _quality(counters: Counters) -> str:
    """The last KID and the best one, for the bar."""
    if counters.kid is None:  # of before the first snapshot, or of an older checkpoint
        return ""
    last, best = f" · KID {counters.kid:.2f}", counters.best
    return last if best is None else f"{last}, best {best:.2f} at {counters.best_kimg:g} kimg"


def _log(t: Training, folder: Path, row: dict[str, float | str]) -> None:
    """Append a row; measures that are not finite are left out (the stop reason tells)."""
    if not t.crew.first:
        return
    finite = {k: v for k, v in row.items() if isinstance(v, str) or math.isfinite(v)}
    step = t.counters.warmup_steps + t.counters.steps
    append_line(folder / STATS, {"step": step, "kimg": t.kimg} | finite)
