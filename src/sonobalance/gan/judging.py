"""Once per snapshot: draw a grid, measure, keep the best, stop when it gets no better."""

from __future__ import annotations

import math
import time
from pathlib import Path

from torch import Tensor

from sonobalance.data.images import write_png
from sonobalance.data.loading import to_pixels, to_unit
from sonobalance.errors import CollapseError
from sonobalance.files import read_lines, write_json
from sonobalance.gan.balance import Balance, weigh
from sonobalance.gan.batches import evaluation_images
from sonobalance.gan.framing import refit
from sonobalance.gan.grids import contact_sheet
from sonobalance.gan.held import Ruler
from sonobalance.gan.monitor import Health, assess
from sonobalance.gan.places import REPORT, SNAPSHOT
from sonobalance.gan.training import Training, publish
from sonobalance.progress import console

STATS = "stats.jsonl"
EVALUATED_PER_CLASS = 96
WEIGHED = 144  # about as many real and as many generated images are shown to the discriminators


def judge(t: Training, folder: Path, row: dict[str, float]) -> dict[str, float]:
    """Draw the grid, measure, keep the snapshot if it is the best, notice when to stop."""
    assert t.bank is not None  # noqa: S101
    began = time.monotonic()
    fake, targets, frames = evaluation_images(
        t.train, t.bank, t.average, t.settings, EVALUATED_PER_CLASS
    )
    _draw(t, folder, refit(fake[:, :1].cpu(), frames), targets)
    learnt, of = to_unit(t.train.pixels), targets.to(fake.device)
    health = assess(learnt[:, :1], t.present_targets(), fake[:, :1], of)
    t.ruler = t.ruler or Ruler(t.eyes, t.encoder, learnt, t.held, masks=t.settings.synthesize_masks)
    kid = t.ruler.distances(fake, of)
    measured = {"kid": sum(kid.values()) / max(1, len(kid)), "repetition": health.repetition}
    pairs = (_some(learnt), _some(fake)), (_some(t.present_targets()), _some(of))
    balance = weigh(t.discriminators, t.branch, t.settings, *pairs)
    measured |= balance.row()
    _warn(t, balance)
    _decide(t, health, balance, row | measured, folder)
    t.counters.seconds += time.monotonic() - began
    names = t.images.classes
    diversity = zip(t.train.present.tolist(), health.diversity, strict=True)
    measured |= {f"kid_{names[k]}": value for k, value in kid.items()}
    return measured | {f"diversity_{names[k]}": value for k, value in diversity}


def _some(rows: Tensor) -> Tensor:
    """About `WEIGHED` of the rows, evenly spread."""
    return rows[:: max(1, len(rows) // WEIGHED)]


def _draw(t: Training, folder: Path, fake: Tensor, targets: Tensor) -> None:
    sheet = contact_sheet(t.images.pixels, t.train.targets, to_pixels(fake), targets)
    write_png(folder / "grids" / f"{round(t.kimg * 1000):07d}.png", sheet)


def _warn(t: Training, balance: Balance) -> None:
    """Say once what has been wrong with one of several discriminators for `collapse_ticks`.

    It may recover, so the training goes on; it stops when none of them teaches, see `_decide`.
    """
    counters, found = t.counters, _worries(t, balance)
    counters.streaks = {about: counters.streaks.get(about, 0) + 1 for about in found}
    for about, sentence in found.items():
        lasts = counters.streaks[about] >= t.settings.collapse_ticks
        if lasts and about not in counters.warnings:
            counters.warnings[about] = sentence
            console.print(sentence, style="yellow")


def _worries(t: Training, balance: Balance) -> dict[str, str]:
    """What is wrong in this snapshot, by what it is about."""
    found = {}
    others = [name for name in balance.pull if name not in balance.idle]
    if others:
        found = {name: _idle(t, name, others) for name in balance.idle}
    if t.settings.objective == "d2gan" and balance.apart:  # elsewhere they estimate unlike things
        found["agreement"] = _apart(t, balance)
    return found


def _idle(t: Training, name: str, others: list[str]) -> str:
    return (
        f"{name} was sure of the images {_lately(t)}, so that the game rested on "
        f"{' and '.join(others)}. Should it not recover, lower `gan.discriminator_lr`."
    )


def _apart(t: Training, balance: Balance) -> str:
    return (
        f"D1 and D2 disagreed on which images look real {_lately(t)}: their estimates correlate by "
        f"{balance.agreement:.2f} (about 0.9 is usual), and log(D1·D2/(alpha·beta)) is "
        f"{balance.product:.1f} (0 in equilibrium). Should it last, look at the grids before the "
        "generated images are used, and lower `gan.discriminator_lr`."
    )


def _lately(t: Training) -> str:
    return f"for {t.settings.collapse_ticks} snapshots, up to {t.kimg:g} kimg"


def _decide(
    t: Training, health: Health, balance: Balance, row: dict[str, float], folder: Path
) -> None:
    """Keep the snapshot if it is the best, and stop the training with a sentence when it must."""
    counters, settings = t.counters, t.settings
    wrong = [name for name, value in row.items() if not math.isfinite(value)]
    if wrong:
        counters.collapsed = counters.broken = True
        counters.stopped = breakdown(t, wrong)
        return
    counters.kid = row["kid"]
    low = (
        min(health.diversity) < settings.collapse_fraction
        or health.repetition > settings.repetition_limit
    )
    idle = len(balance.idle) == len(balance.pull)
    counters.low_ticks = counters.low_ticks + 1 if low or idle else 0
    if not low and (counters.best is None or row["kid"] < counters.best):
        counters.best, counters.best_kimg = row["kid"], t.kimg
        publish(folder / SNAPSHOT, t)
    if counters.low_ticks >= settings.collapse_ticks:
        counters.collapsed = True
        counters.stopped = _collapse(t, health) if low else _saturation(t)
    elif t.kimg - counters.best_kimg >= settings.patience_kimg - 1e-9:
        counters.stopped = _patience(t)


def breakdown(t: Training, wrong: list[str]) -> str:
    """The sentence for a training some of whose numbers (`wrong`) are not finite."""
    settings, game = t.settings, t.counters.steps > 0
    rates = ("generator_lr", "discriminator_lr") if game else ("autoencoder_lr",)
    lower = " and ".join(f"`gan.{name}` ({getattr(settings, name):g})" for name in rates)
    rounded = settings.precision != "float32"
    stage = "adversarial phase" if game else "autoencoder warm-up"
    seen = t.kimg if game else t.counters.warmup_steps * settings.batch_size / 1000
    return (
        f"The {stage} broke down before {seen:g} kimg: {', '.join(wrong) or 'another device'} "
        f"became infinite or not a number{_used(t)} Lower {lower}"
        f"{', or set `gan.precision` to float32' if rounded else ''}."
    )


def _used(t: Training) -> str:
    """The end of a sentence: what is left, if anything."""
    counters = t.counters
    kept = f"; the snapshot of {counters.best_kimg:g} kimg is used."
    return "." if counters.best is None else kept


def _patience(t: Training) -> str:
    counters, patience = t.counters, t.settings.patience_kimg
    if counters.best is None:
        return f"No snapshot was diverse enough to be kept for {patience:g} kimg."
    return (
        f"No snapshot was closer to the held-back images than that of {counters.best_kimg:g} "
        f"kimg for {patience:g} kimg."
    )


def _collapse(t: Training, health: Health) -> str:
    counters, settings = t.counters, t.settings
    return (
        f"The generated images collapsed: for {counters.low_ticks} snapshots, up to "
        f"{t.kimg:g} kimg, a class kept less than {settings.collapse_fraction:.0%} of the real "
        f"diversity (least: {min(health.diversity):.0%}) or more than "
        f"{settings.repetition_limit:.0%} of the fine detail was the same in all images "
        f"({health.repetition:.0%}){_used(t)}"
    )


def _saturation(t: Training) -> str:
    return (
        f"Every discriminator was sure of the images for {t.counters.low_ticks} snapshots, up to "
        f"{t.kimg:g} kimg, so that there was nothing left to learn{_used(t)}"
    )


def conclude(t: Training, folder: Path) -> None:
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
        "best_kid": t.counters.best,
        "kid_features": t.eyes.name if t.eyes else "warm-up encoder",
        "held_back": t.held.kept_away,
        "held_back_classes": list(t.held.apart),
        "seconds": round(t.counters.seconds, 1),
        "stop": _end(t),
        "collapsed": t.counters.collapsed or t.counters.best is None,
        "warnings": [*t.counters.warnings.values()],
        "last": rows[-1] if rows else {},
        "settings": t.settings.model_dump(mode="json"),
    })  # fmt: skip
    if t.counters.best is None:
        raise CollapseError(_nothing_to_use(t, folder))


def _end(t: Training) -> str:
    """Why the training ended, and what it is worth if it is worth nothing."""
    seen = t.counters.stopped or "The images asked for were seen."
    nothing = t.counters.best is None and not t.counters.stopped
    return f"{seen} No snapshot was diverse enough to be kept." if nothing else seen


def _nothing_to_use(t: Training, folder: Path) -> str:
    stopped = t.counters.stopped
    if t.counters.broken:
        return f"Expected the training in {folder} to keep to finite numbers. {stopped}"
    return (
        f"Expected the generator in {folder} to make diverse images, but it never did. "
        f"{stopped}{' ' if stopped else ''}Give it more `autoencoder_kimg` or more images."
    )
