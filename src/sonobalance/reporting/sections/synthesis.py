"""What was synthesised, what was rejected and why, and how close the images are to real ones."""

from __future__ import annotations

from collections import Counter
from typing import Any

from sonobalance.randomness import numpy_generator
from sonobalance.reporting.artefacts import Row, RunFiles, as_dict
from sonobalance.reporting.figures import curves_figure, reasons_figure
from sonobalance.reporting.formatting import finite
from sonobalance.reporting.pictures import square
from sonobalance.reporting.section import Section
from sonobalance.reporting.sections.rounds import (
    GATES,
    balance_rows,
    fidelity_rows,
    round_rows,
    threshold_rows,
)

SHOWN_PER_STRIP = 8
SHOWN_NEAREST = 3


def synthesis(run: RunFiles) -> Section:
    """Real and synthetic images side by side, rounds, rejections, fidelity, training curves."""
    document = run.document("synthesis/synthesis.json")
    candidates = run.rows("synthesis/selection.csv")
    kept = [row for row in candidates if _kept(row)]
    log, gan = run.log("gan/stats.jsonl"), run.document("gan/gan.json")
    values = {
        "present": bool(document or candidates or log),
        "document": document,
        "strips": [_strip(run, label) for label in run.classes],
        "size_px": _size(run),
        "seen_px": run.seen_px,
        "candidates": len(candidates),
        "kept": len(kept),
        "by_rank": finite(document.get("accepted_by_rank")),
        "nearest": _nearest(run, kept),
        "rounds": round_rows(run.rows("synthesis/rounds.csv"), run.classes),
        "gates": GATES,
        "classes": run.classes,
        "balance": balance_rows(document),
        "fidelity": fidelity_rows(document),
        "thresholds": threshold_rows(document),
        "gate_words": gate_words(candidates),
        "copies": as_dict(document.get("copies_caught")),
        "reasons": reasons_figure(_reasons(candidates)),
        "gan": gan,
        "gan_images": 1000 * (finite(gan.get("kimg")) or 0),
        "best_images": 1000 * (finite(gan.get("best_kimg")) or 0),
        "curves": _curves(log, gan.get("best_kimg") or None, run.classes),
    }
    sources = (
        "synthesis/synthesis.json", "synthesis/selection.csv", "synthesis/rounds.csv",
        "synthesis/manifest.csv", "gan/stats.jsonl", "gan/gan.json",
    )  # fmt: skip
    return Section("synthesis", "Synthesis", values, sources)


def _kept(row: Row) -> bool:
    return row.get("kept", "").strip().lower() in {"1", "true", "yes"}


def _size(run: RunFiles) -> int:
    sizes = [record.width for _, record in run.synthetic.values() if record.width]
    return sizes[0] if sizes else int(as_dict(run.settings.get("gan")).get("image_size_px", 64))


def _reasons(candidates: list[Row]) -> dict[str, int]:
    return Counter(_gate(row) for row in candidates if not _kept(row))


def _gate(row: Row) -> str:
    return row.get("reason", "").split(":")[0] or "unknown"


def gate_words(candidates: list[Row]) -> dict[str, list[str]]:
    """Gate → the reasons it gave, in words."""
    words: dict[str, dict[str, None]] = {}
    for row in candidates:
        gate, _, why = row.get("reason", "").partition(":")
        if not _kept(row) and why:
            words.setdefault(gate, {})[why.strip()] = None
    return {gate: list(reasons) for gate, reasons in words.items()}


def _sample(run: RunFiles, ids: list[str], n: int, name: str) -> list[str]:
    """At most `n` of the ids, drawn by the run's seed and never by hand, in their order."""
    if len(ids) <= n:
        return ids
    seed = int(run.settings.get("seed") or 0)
    chosen = numpy_generator(seed, "report", name).choice(len(ids), n, replace=False)
    return [ids[i] for i in sorted(chosen.tolist())]


def _strip(run: RunFiles, label: str) -> dict[str, Any]:
    size = run.seen_px or _size(run)
    train = run.ids_of("train", label)
    made = [key for key, (_, record) in run.synthetic.items() if record.label == label]
    real = _sample(run, train, SHOWN_PER_STRIP, f"real {label}")
    synthetic = _sample(run, made, SHOWN_PER_STRIP, f"synthetic {label}")
    return {
        "label": label,
        "train": len(train),
        "made": len(made),
        "real": [square(run.real, key, size, f"Real {label} image") for key in real],
        "synthetic": [square(run.seen, key, size, f"Synthetic {label} image") for key in synthetic],
    }


def _nearest(run: RunFiles, kept: list[Row]) -> list[dict[str, Any]]:
    """A few accepted images per class beside the real TRAIN image that is nearest to each."""
    size, out = _size(run), []
    for label in run.classes:
        rows = {
            row["id"]: row for row in kept if row.get("class") == label and row.get("nearest_id")
        }
        for key in _sample(run, list(rows), SHOWN_NEAREST, f"nearest {label}"):
            row = rows[key]
            out.append({
                "distance": row.get("nearest_distance"),
                "shots": [
                    square(run.synthetic, key, size, "Synthetic image", f"synthetic {label}"),
                    square(run.real, row["nearest_id"], size, "Nearest real image",
                           f"nearest real: {row['nearest_id']}"),
                ],
            })  # fmt: skip
    return out


def _curves(log: list[dict[str, Any]], best_kimg: Any, classes: list[str]) -> list[Any]:
    """How the training of the generator went: losses, density ratios, diversity."""
    warm_up = [row for row in log if row.get("stage") == "warm-up"]
    game = [row for row in log if row.get("stage") != "warm-up"]
    judges = [
        name for name in ("D1", "D2", "C", "R", "D") if any(f"loss_{name}" in row for row in game)
    ]
    scores = {
        f"score_{name}_{kind}": f"{name} on {words}"
        for name in judges
        for kind, words in (("real", "real"), ("fake", "generated"))
    }
    losses = {f"loss_{name}": name for name in (*judges, "G")}
    diversity = {f"diversity_{label}": label for label in classes}
    kid = {f"kid_{label}": label for label in classes}
    mark = finite(best_kimg)
    charts = (
        curves_figure(warm_up, {"loss_autoencoder": "autoencoder"}, key="gan-warm-up",
                      title="Warm-up: reconstruction loss", x="step"),
        curves_figure(game, losses, key="gan-loss", title="Losses", mark=mark),
        curves_figure(game, scores, key="gan-score", title="Realism by each discriminator",
                      mark=mark),
        curves_figure(game, kid, key="gan-kid", mark=mark,
                      title="KID to held-back images (0 = as real)"),
        curves_figure(game, diversity, key="gan-diversity", title="Diversity (1 = as in real)",
                      mark=mark),
    )  # fmt: skip
    return [chart for chart in charts if chart]
