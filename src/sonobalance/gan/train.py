"""Train the GAN: autoencoder warm-up, then the game, in ticks that can be killed and resumed.

Each tick ends with a checkpoint, a row of `stats.jsonl`, and in the adversarial phase a grid and a
judgement: better than the best so far → new snapshot; too little diversity for too long → stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from sonobalance.config import GanSettings
from sonobalance.data.images import write_png
from sonobalance.data.loading import LabelledImages, to_pixels, to_unit
from sonobalance.errors import CollapseError, InputError
from sonobalance.files import append_line, keep_lines, read_lines, write_json
from sonobalance.gan.augment import adapt
from sonobalance.gan.batches import adversarial_batch, evaluation_images, warmup_batch
from sonobalance.gan.framing import refit
from sonobalance.gan.grids import contact_sheet
from sonobalance.gan.latents import encode_bank
from sonobalance.gan.monitor import Quality, assess
from sonobalance.gan.phases import run_phases
from sonobalance.gan.training import Training, publish, resume, save, start
from sonobalance.progress import Bar, bar

CHECKPOINT, SNAPSHOT, STATS, REPORT = (
    "checkpoint.safetensors", "snapshot.safetensors", "stats.jsonl", "gan.json",
)  # fmt: skip
EVALUATED_PER_CLASS = 48


def train_gan(
    images: LabelledImages,
    settings: GanSettings,
    *,
    seed: int,
    folder: Path,
    device: torch.device,
    total_kimg: float | None = None,
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

    Raises:
        InputError: images of another size, or none.
        StaleError: the folder holds a training of other images, settings or another seed.
        CollapseError: the generator collapsed before any good snapshot.
    """
    _check(images, settings)
    training = start(images, settings, seed, device)
    if (folder / CHECKPOINT).is_file():
        resume(folder / CHECKPOINT, training)
    done = training.counters.warmup_steps + training.counters.steps
    keep_lines(folder / STATS, "step", done)
    warmup_goal = warmup_steps(settings)
    goal = _goal_steps(settings, settings.total_kimg if total_kimg is None else total_kimg)
    if training.counters.warmup_steps < warmup_goal or training.counters.steps < goal:
        with bar("training GAN", warmup_goal + goal, done) as shown:
            _warm_up(training, warmup_goal, folder, shown)
            _play(training, goal, folder, shown)
    _conclude(training, folder)
    return folder / SNAPSHOT


def _check(images: LabelledImages, settings: GanSettings) -> None:
    size = settings.image_size_px
    if len(images) == 0 or images.pixels.shape[1:] != (1, size, size):
        raise InputError(
            f"Expected at least one TRAIN image of (1, {size}, {size}), "
            f"but got {tuple(images.pixels.shape)}."
        )


def tick_steps(settings: GanSettings) -> int:
    """Steps between two snapshots."""
    return max(1, round(settings.snapshot_kimg * 1000 / settings.batch_size))


def warmup_steps(settings: GanSettings) -> int:
    """Steps of the autoencoder."""
    return round(settings.autoencoder_kimg * 1000 / settings.batch_size)


def _goal_steps(settings: GanSettings, total_kimg: float) -> int:
    """Steps of the adversarial phase: whole ticks, so that going on never meets half a tick."""
    ticks = math.ceil(total_kimg / settings.snapshot_kimg - 1e-6)
    return max(1, ticks) * tick_steps(settings)


def _warm_up(t: Training, goal: int, folder: Path, shown: Bar) -> None:
    """Train the autoencoder, then encode the TRAIN images and start the average."""
    tick = tick_steps(t.settings)
    t.encoder.train()
    while t.counters.warmup_steps < goal:
        steps = min(tick, goal - t.counters.warmup_steps)
        row = _timed(t, steps, shown, _warmup_step)
        _log(t, folder, {"stage": "warm-up"} | row)
        save(folder / CHECKPOINT, t)
    if t.bank is None:
        device = t.train.pixels.device
        filled = to_unit(t.train.pixels)
        t.bank = encode_bank(t.encoder, filled, t.train.targets, t.train.frames, device)
        t.average.load_state_dict(t.generator.state_dict())
        save(folder / CHECKPOINT, t)


def _warmup_step(t: Training) -> dict[str, Tensor]:
    batch = warmup_batch(t.train, t.settings, t.generator.noise_dim, t.counters.warmup_steps)
    for group in t.warmup[0].optimiser.param_groups:
        group["lr"] = _warmup_lr(t.settings, t.counters.warmup_steps)
    logged = run_phases(t.warmup, batch, t.counters.warmup_steps)
    t.counters.warmup_steps += 1
    return logged


def _warmup_lr(settings: GanSettings, step: int) -> float:
    """Linear rise over the first twentieth, then half a cosine down to a twentieth of the rate."""
    progress = (step + 1) / warmup_steps(settings)
    cosine = 0.05 + 0.95 * (1 + math.cos(math.pi * min(1.0, progress))) / 2
    return settings.autoencoder_lr * min(1.0, 20 * progress) * cosine


def _play(t: Training, goal: int, folder: Path, shown: Bar) -> None:
    """Run the game up to `goal` steps or until it collapses."""
    for network in t.discriminators.values():
        network.train()
    while t.counters.steps < goal and not t.counters.stopped:
        row = _timed(t, tick_steps(t.settings), shown, _game_step)
        settings, counters = t.settings, t.counters
        whole = next(iter(t.discriminators))  # patches are too many to be learnt by heart
        row["augment_probability"] = counters.probability
        counters.probability = adapt(
            counters.probability, row[f"certainty_{whole}"], settings.augment_target,
            settings.snapshot_kimg,
        )  # fmt: skip
        row |= _judge(t, folder, row)
        _log(t, folder, {"stage": "adversarial"} | row)
        save(folder / CHECKPOINT, t)


def _game_step(t: Training) -> dict[str, Tensor]:
    assert t.bank is not None  # noqa: S101
    settings = t.settings
    fade = min(1.0, t.kimg / settings.fade_kimg) if settings.fade_kimg else 1.0
    for network in t.discriminators.values():
        network.class_weight.fill_(fade)
    batch = adversarial_batch(
        t.train, t.bank, t.generator, settings,
        probability=t.counters.probability, step=t.counters.steps,
    )  # fmt: skip
    logged = run_phases(t.game, batch, t.counters.steps)
    t.counters.steps += 1
    _average(t)
    return logged


@torch.no_grad()
def _average(t: Training) -> None:
    """Exponential average of G; its half-life grows with the images seen, up to the setting."""
    halflife_kimg = min(t.settings.ema_halflife_kimg, t.kimg / 2)
    keep = 0.5 ** (t.settings.batch_size / 1000 / halflife_kimg)
    torch._foreach_lerp_([*t.average.parameters()], [*t.generator.parameters()], 1 - keep)


def arithmetic(settings: GanSettings, device: torch.device) -> torch.autocast:
    """The context in which networks are run while training."""
    half = settings.precision == "bfloat16" or (settings.precision == "auto" and has_bf16(device))
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


def has_bf16(device: torch.device) -> bool:
    """Whether convolutions in bfloat16 are faster there than in float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe and probe())


def _timed(
    t: Training, steps: int, shown: Bar, step: Callable[[Training], dict[str, Tensor]]
) -> dict[str, float]:
    """Run `steps` steps; the mean of everything they log, and images per second."""
    began = time.monotonic()
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for i in range(steps):
        with arithmetic(t.settings, t.train.pixels.device):
            logged = step(t)
        for key, value in logged.items():
            sums[key] = sums[key] + value if key in sums else value.clone()
            counts[key] = counts.get(key, 0) + 1
        speed = (i + 1) * t.settings.batch_size / (time.monotonic() - began)
        shown.advance(1, f"{speed:.0f} images/s")
    elapsed = time.monotonic() - began
    t.counters.seconds += elapsed
    means = {key: float(value) / counts[key] for key, value in sums.items()}
    return means | {"images_per_second": round(steps * t.settings.batch_size / elapsed, 1)}


def _judge(t: Training, folder: Path, row: dict[str, float]) -> dict[str, float]:
    """Draw the grid, measure, keep the snapshot if it is the best, notice a collapse."""
    assert t.bank is not None  # noqa: S101
    began = time.monotonic()
    fake, targets, frames = evaluation_images(
        t.train, t.bank, t.average, t.settings, EVALUATED_PER_CLASS
    )
    device = t.train.pixels.device
    quality = assess(
        t.encoder, to_unit(t.train.pixels), t.present_targets(), fake, targets.to(device)
    )
    shown = to_pixels(refit(fake.cpu(), frames))
    sheet = contact_sheet(t.images.pixels, t.train.targets, shown, targets)
    write_png(folder / "grids" / f"{round(t.kimg * 1000):07d}.png", sheet)
    _decide(t, quality, row, folder)
    t.counters.seconds += time.monotonic() - began
    names = [t.images.classes[k] for k in t.train.present.tolist()]
    diversity = dict(zip((f"diversity_{name}" for name in names), quality.diversity, strict=True))
    return {"distance": quality.distance, "repetition": quality.repetition} | diversity


def _decide(t: Training, quality: Quality, row: dict[str, float], folder: Path) -> None:
    counters, settings = t.counters, t.settings
    if not all(math.isfinite(value) for value in (*row.values(), quality.distance)):
        counters.stopped = f"A loss became infinite or not a number before {t.kimg:g} kimg."
        return
    low = (
        min(quality.diversity) < settings.collapse_fraction
        or quality.repetition > settings.repetition_limit
    )
    counters.low_ticks = counters.low_ticks + 1 if low else 0
    if counters.low_ticks >= settings.collapse_ticks:
        counters.stopped = (
            f"The generated images collapsed: for {counters.low_ticks} snapshots, up to "
            f"{t.kimg:g} kimg, a class kept less than {settings.collapse_fraction:.0%} of the real "
            f"diversity (least: {min(quality.diversity):.0%}) or more than "
            f"{settings.repetition_limit:.0%} of the fine detail was the same in all images "
            f"({quality.repetition:.0%}); the snapshot of {counters.best_kimg:g} kimg is used."
        )
    elif not low and (counters.best is None or quality.distance < counters.best):
        counters.best, counters.best_kimg = quality.distance, t.kimg
        publish(folder / SNAPSHOT, t)


def _log(t: Training, folder: Path, row: dict[str, float | str]) -> None:
    """Append a row; values that are not finite are left out (the stop reason tells)."""
    finite = {k: v for k, v in row.items() if isinstance(v, str) or math.isfinite(v)}
    step = t.counters.warmup_steps + t.counters.steps
    append_line(folder / STATS, {"step": step, "kimg": t.kimg} | finite)


def _conclude(t: Training, folder: Path) -> None:
    """Write gan.json; raise when there is nothing to use."""
    rows = read_lines(folder / STATS)
    networks = {"G": t.generator, "encoder": t.encoder, **t.discriminators}
    write_json(folder / REPORT, {
        "objective": t.settings.objective,
        "parameters": {k: sum(p.numel() for p in n.parameters()) for k, n in networks.items()},
        "images": len(t.images),
        "train_hash": t.train_hash,
        "seed": t.seed,
        "kimg": t.kimg,
        "best_kimg": t.counters.best_kimg,
        "best_distance": t.counters.best,
        "seconds": round(t.counters.seconds, 1),
        "stop": t.counters.stopped or "The images asked for were seen.",
        "collapsed": bool(t.counters.stopped),
        "last": rows[-1] if rows else {},
        "settings": t.settings.model_dump(mode="json"),
    })  # fmt: skip
    if t.counters.best is None:
        raise CollapseError(
            f"Expected the generator in {folder} to make diverse images, but it never did. "
            f"{t.counters.stopped} Give it more `autoencoder_kimg` or more images."
        )
