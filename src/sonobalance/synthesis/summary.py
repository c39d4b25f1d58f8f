"""What came of the loop: the harm guard, fidelity, and `synthesis.json` in words and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sonobalance.config import SynthesisSettings
from sonobalance.data.manifest import Manifest, read_manifest
from sonobalance.errors import InputError
from sonobalance.files import read_json, write_json
from sonobalance.gan.places import why_none
from sonobalance.synthesis.fidelity import measure_fidelity, memorisation_ratio
from sonobalance.synthesis.gate_models import GateModels
from sonobalance.synthesis.inner import Additions
from sonobalance.synthesis.ledger import MANIFEST, RoundRecord
from sonobalance.synthesis.select import BY_RANK
from sonobalance.synthesis.yardstick import Yardstick

SUMMARY = "synthesis.json"


@dataclass(frozen=True)
class Growth:
    """The outcome of the loop.

    Attributes:
        folder: where the files lie.
        manifest: every accepted image of every round.
        best_round: the round that was best on the inner validation; 0 means no synthesis.
        reason: why the loop stopped.
        document: content of `synthesis.json`.
        gates: as they were calibrated.
    """

    folder: Path
    manifest: Manifest
    best_round: int
    reason: str
    document: dict[str, Any]
    gates: GateModels


def conclude(
    folder: Path,
    yardstick: Yardstick,
    records: Sequence[RoundRecord],
    synthetic: Additions,
    *,
    settings: SynthesisSettings,
    seed: int,
    reason: str,
    facts: Mapping[str, Any],
) -> Growth:
    """Choose the best round, measure fidelity, write `synthesis.json`."""
    best = best_round(records, settings.min_gain)
    classes = yardstick.train.classes
    present = Counter(classes[k] for k in yardstick.train.targets.tolist())
    added = Counter(c.label for r in records for c in r.kept)
    document = {
        "stop_reason": reason,
        "before": {label: present[label] for label in classes},
        "after": {label: present[label] + added[label] for label in classes},
        "candidates": sum(len(r.candidates) for r in records),
        "accepted": sum(added.values()),
        "accepted_by_rank": sum(c.reason.endswith(BY_RANK) for r in records for c in r.kept),
        "best_round": best,
        "harm_guard": settings.harm_guard,
        **_gain(yardstick, records, synthetic, best=best, seed=seed),
        "thresholds": _thresholds(yardstick, records),
        "copies_caught": yardstick.gates.novelty.caught,
        "fidelity": _fidelity(yardstick, records, synthetic, seed),
        **facts,
        "seed": seed,
        "settings": settings.model_dump(mode="json"),
    }
    write_json(folder / SUMMARY, document)
    manifest = read_manifest(folder / MANIFEST, folder)
    return Growth(folder, manifest, best, reason, document, yardstick.gates)


def best_round(records: Sequence[RoundRecord], least: float) -> int:
    """The earliest of the rounds with the highest inner macro-F1; 0 where it gains too little.

    The best of several rounds that are worth nothing is above round 0 more often than not.
    """
    best = max(records, key=lambda r: (r.row["macro_f1"], -r.number))
    gained = best.row["macro_f1"] >= records[0].row["macro_f1"] + least
    return best.number if gained else 0


def _gain(
    yardstick: Yardstick,
    records: Sequence[RoundRecord],
    synthetic: Additions,
    *,
    best: int,
    seed: int,
) -> dict[str, Any]:
    judge = yardstick.judge
    zero, chosen, last = (np.asarray(records[i].predictions) for i in (0, best, -1))
    value, low, high = judge.gain(chosen, zero, seed)
    final, final_low, final_high = judge.gain(last, zero, seed)
    plain = judge.macro_f1(judge.predict(None, balance="none"))
    return {
        "inner_validation": {
            "none": plain,
            "balanced": judge.macro_f1(zero),
            "best": judge.macro_f1(chosen),
            "repeats": len(judge.folds),
            "folds": int(judge.folds.max()) + 1,
            "used_share": judge.used_share(synthetic) if len(synthetic.targets) else 0.0,
        },
        "gain": {"value": value, "low": low, "high": high, "confidence": 0.95},
        "gain_of_last_round": {"value": final, "low": final_low, "high": final_high},
        "helped": best > 0 and low > 0,
        "sentence": _sentence(best, value, low, high, plain - judge.macro_f1(chosen)),
    }


def _sentence(best: int, value: float, low: float, high: float, cheaper: float) -> str:
    if best == 0:
        return (
            "Synthesis did not help: no round was better on the inner validation than real images "
            "alone, their classes balanced by weight."
        )
    interval = f"{value:+.3f} macro-F1 (95 % interval {low:+.3f} to {high:+.3f})"
    rival = f" Real images without any balancing reached {cheaper:.3f} more." if cheaper > 0 else ""
    if low <= 0:
        return (
            f"Synthesis was not shown to help: round {best} was best by {interval} on the inner "
            f"validation, which may be chance.{rival}"
        )
    return (
        f"Synthesis helped on the inner validation: round {best} was best by {interval}; the best "
        f"of several rounds looks better than it is, so TEST decides.{rival}"
    )


def _fidelity(
    yardstick: Yardstick, records: Sequence[RoundRecord], synthetic: Additions, seed: int
) -> list[dict[str, Any]]:
    """Fidelity of the accepted images of each class that has enough of them."""
    inner = yardstick.inner
    distances = np.array([c.nearest_distance for r in records for c in r.kept])
    out = []
    for k, label in enumerate(yardstick.train.classes):
        real, fake = inner.targets == k, synthetic.targets == k
        if not fake.any():
            continue
        measured = measure_fidelity(
            label, inner.features[real], inner.groups[real].tolist(), synthetic.features[fake],
            seed=seed,
            memorisation=memorisation_ratio(distances[fake], yardstick.gates.novelty.real[real]),
        )  # fmt: skip
        out += [asdict(measured)] if measured else []
    return out


def _thresholds(yardstick: Yardstick, records: Sequence[RoundRecord]) -> dict[str, Any]:
    fixed = {name: asdict(threshold) for name, threshold in yardstick.gates.thresholds().items()}
    by_round = {f"realism_round_{r.number}": r.thresholds["realism"] for r in records if r.number}
    return fixed | by_round


def training_images(folder: Path, *, every_round: bool = False) -> Manifest:
    """The synthetic images a classifier should train on.

    Args:
        folder: RUN/synthesis.
        every_round: all accepted images, whatever the harm guard says.

    Returns:
        The images accepted up to the best round when the harm guard is on (possibly none).

    Raises:
        InputError: there are none, as nothing was synthesised; or `manifest.csv` is missing.
    """
    if not (folder / SUMMARY).is_file():
        raise InputError(
            f"Expected synthetic images in {folder}, but there are none: {why_none(folder.parent)}"
        )
    manifest = read_manifest(folder / MANIFEST, folder)
    document = read_json(folder / SUMMARY)
    if every_round or not document["harm_guard"]:
        return manifest
    return manifest.select(
        r.id for r in manifest if int(r.id[1:].split("-", 1)[0]) <= document["best_round"]
    )
