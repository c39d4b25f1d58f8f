"""A small, complete, made-up run folder: every file that the report reads."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
from made_up_files import CLASSES, SIZE, speckle, write_document, write_rows
from made_up_results import arms_file, evaluation_file, explanation_file, predictions_file

from sonobalance.data.manifest import Manifest, Record

COUNTS = {"benign": 24, "malignant": 12, "normal": 8}
PARTS = ("train", "train", "train", "train", "val", "test")
REASONS = (
    "novelty: a copy of a TRAIN image", "class: off class",
    "realism: less real than real images", "diversity: a twin of an accepted image",
)  # fmt: skip


def images(folder, rng, names):
    rows = []
    for key, label in names:
        path = folder / f"{key}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), speckle(rng, label))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        rows.append(Record(key, f"{key}.png", label, sha256=digest, width=120, height=96))
    return Manifest(tuple(rows), folder)


def data_files(run, source, rng):
    names = [(f"{c}/{c} ({i + 1})", c) for c in CLASSES for i in range(COUNTS[c])]
    rows = images(source, rng, names)
    rows.write(run / "manifest.csv")
    groups = {r.id: f"g{i - i % 2 * (i % 6 == 1):03d}" for i, r in enumerate(rows)}
    part = {g: PARTS[i % len(PARTS)] for i, g in enumerate(sorted(set(groups.values())))}
    splits = [
        {"id": r.id, "path": r.path, "label": r.label, "group": groups[r.id],
         "part": "excluded" if i in (24, 25) else part[groups[r.id]], "fold": i % 5}
        for i, r in enumerate(rows)
    ]  # fmt: skip
    write_rows(run / "splits.csv", splits)
    write_rows(run / "groups.csv", [{k: s[k] for k in ("id", "path", "group")} for s in splits])
    write_rows(run / "marks.csv", [
        {"id": r.id, "path": r.path, "kind": ("caliper", "text")[i % 2],
         "x": 3, "y": 4, "width": 9, "height": 9}
        for i, r in enumerate(rows) if i % 3 == 0 or r.label == "malignant"
    ])  # fmt: skip
    return splits


def finding(kind, ids, score, text):
    return {"kind": kind, "ids": list(ids), "score": score, "text": text}


def audit_file(run, splits):
    kinds = ("exact", "copy", "mirrored", "reframed", "view")
    ids, labels = [s["id"] for s in splits], [s["label"] for s in splits]
    pairs = [
        {"ids": ids[i : i + 2], "labels": labels[i : i + 2], "kind": kinds[i % 5],
         "score": 1 - i / 60, "inliers": 20, "correlation": 0.9}
        for i in (*range(0, 20, 2), 23)
    ]  # fmt: skip
    write_document(run / "audit.json", {
        "findings": [
            *(finding("exact-duplicate" if p["kind"] == "exact" else "near-duplicate", p["ids"],
                      p["score"], "The same tissue: " + " and ".join(p["ids"]) + ".")
              for p in pairs[:-1]),
            finding("label-conflict", ids[23:25], 1.0, "One tissue, two labels."),
            finding("mark-shortcut", (), 0.6, "Marks alone tell malignant from the rest."),
            finding("imbalance", (), 0.5, "benign has 3.0 times as many images as normal."),
        ],
        "pairs": pairs,
        "shortcuts": {
            "metadata_accuracy": 0.51, "metadata_chance": 0.55, "metadata_balanced_accuracy": 0.36,
            "metadata_balanced_chance": 0.33, "marks_accuracy": 0.61, "marks_chance": 0.55,
            "marks_balanced_accuracy": 0.49, "marks_balanced_chance": 0.33,
            "marks_information_bits": 0.21,
        },
    })  # fmt: skip


def synthesis_files(run, splits, rng):
    folder, made, candidates = run / "synthesis", [], []
    for label in ("malignant", "normal"):
        near = [s["id"] for s in splits if s["label"] == label and s["part"] == "train"]
        for i in range(30):
            kept = i % 3 == 0
            key = f"r{1 + i // 15}-{label}-{i:05d}"
            candidates.append({
                "id": key, "round": 1 + i // 15, "class": label, "seed": 7, "index": i,
                "realism": f"{rng.uniform(0.2, 1):.4f}", "class_probability": 0.8,
                "typicality": 0.5, "novelty": f"{rng.uniform(0.1, 2):.4f}", "diversity": 0.4,
                "log_r1": 0.1, "log_r2": -0.2, "nearest_id": near[i % len(near)],
                "nearest_distance": f"{rng.uniform(0.1, 0.4):.4f}", "parents": "",
                "kept": "true" if kept else "false",
                "reason": "accepted" if kept else REASONS[i % len(REASONS)],
            })  # fmt: skip
            if not kept:
                continue
            path = folder / "images" / label / f"{key}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), cv2.resize(speckle(rng, label, 64, 64), (SIZE, SIZE)))
            where = f"images/{label}/{key}.png"
            made.append(Record(key, where, label, width=SIZE, height=SIZE, origin="synthetic"))
    Manifest(tuple(made), folder).write(folder / "manifest.csv")
    write_rows(folder / "selection.csv", candidates)
    write_rows(folder / "rounds.csv", [
        {"round": r, "added": 10, "total": 27 + 10 * r, "acceptance": 0.5, "macro_f1": 0.7 + r / 50,
         **{f"{name}_{label}": value for label in ("malignant", "normal") for name, value in
            {"asked": 5, "made": 15, "rejected_novelty": 4, "rejected_class": 6, "added": 5,
             "twins": 0.1, "coverage": 0.7}.items() if r}}
        for r in (1, 2)
    ])  # fmt: skip
    synthesis_summary(folder)


def synthesis_summary(folder):
    write_document(folder / "synthesis.json", {
        "stop_reason": "balanced: every class has the images asked for.",
        "before": {"benign": 16, "malignant": 6, "normal": 5}, "harm_guard": True, "best_round": 2,
        "after": {"benign": 16, "malignant": 16, "normal": 15}, "candidates": 60, "accepted": 20,
        "targets": dict.fromkeys(CLASSES, 16),
        "sentence": "Synthesis was not shown to help: round 2 was best, which may be chance.",
        "thresholds": {
            "novelty": {"value": 0.31, "real_pass": 0.99, "rule": "Altered copies lie below."},
            "class_normal": {"value": 0.6, "real_pass": 0.9, "rule": "Tenth percentile."},
        },
        "copies_caught": {"exact": 1.0, "mirrored": 0.98},
        "fidelity": [
            {"label": label, "real": 6, "synthetic": 10, "kid": 0.021, "kid_std": 0.002,
             "kid_floor": 0.004, "density": 0.8, "density_floor": 1.02, "coverage": 0.7,
             "coverage_floor": 0.95, "memorisation": 0.93}
            for label in ("malignant", "normal")
        ],
    })  # fmt: skip


def gan_files(run):
    (run / "gan").mkdir(exist_ok=True)
    rows = [{"step": 10 * i, "kimg": 0.0, "stage": "warm-up", "loss_autoencoder": 1 / i}
            for i in range(1, 9)]  # fmt: skip
    rows += [
        {"step": 80 + 10 * i, "kimg": i / 4, "stage": "adversarial", "loss_D1": 1 + 1 / i,
         "loss_D2": 0.8, "loss_G": 3 / i, "score_D1_real": 0.4, "score_D1_fake": -1 / i,
         "score_D2_real": 0.5, "score_D2_fake": -2 / i, "kid": 1 / i,
         **{f"kid_{c}": 1 / i for c in CLASSES},
         **{f"diversity_{c}": 0.5 + i / 50 for c in CLASSES}}
        for i in range(1, 21)
    ]  # fmt: skip
    with (run / "gan" / "stats.jsonl").open("w") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)
    write_document(run / "gan" / "gan.json", {
        "objective": "d2gan", "kimg": 5.0, "best_kimg": 4.5, "collapsed": False,
        "stop": "The images asked for were seen.", "images": 27,
    })  # fmt: skip


def run_file(run, source):
    stages = {
        "index": "manifest.csv", "audit": "audit.json", "split": "splits.csv",
        "train-gan": "gan/gan.json", "synthesize": "synthesis/synthesis.json",
        "train": "classifier/arms.json", "predict": "predictions.csv",
        "evaluate": "evaluation.json", "explain": "explanation.json",
    }  # fmt: skip
    write_document(run / "run.json", {
        "name": "speckle <set> & more", "source": str(source), "preset": "demo",
        "created": "2026-03-01T10:00:00+00:00", "finished": "2026-03-01T10:41:07+00:00",
        "settings": {
            "seed": 3, "device": "auto", "split": {"leaky": False, "label_conflicts": "drop"},
            "gan": {"image_size_px": SIZE, "alpha": 0.2},
        },
        "environment": {"sonobalance": "0.1.0", "python": "3.11.9", "torch": "2.8.0", "cores": 2,
                        "platform": "Linux x86_64", "memory_gib": 6.0},
        "stages": {
            name: {"status": "finished", "started": "2026-03-01T10:00:00+00:00",
                   "seconds": 3**i / 2, "peak_memory_mib": 512 * (i + 1),
                   "fingerprint": {"settings": {"seed": 3}, "inputs": {}},
                   "outputs": {written: hashlib.sha256(name.encode()).hexdigest()}}
            for i, (name, written) in enumerate(stages.items())
        },
        "skipped": [{"path": "normal/empty.png", "reason": "it has no bytes"}],
    })  # fmt: skip


def make_run(folder: Path) -> Path:
    """Write the made-up run to `folder/run`, its images to `folder/images`; returns the run."""
    run, source, rng = folder / "run", folder / "images", np.random.default_rng(0)
    run.mkdir(parents=True)
    splits = data_files(run, source, rng)
    audit_file(run, splits)
    synthesis_files(run, splits, rng)
    gan_files(run)
    predictions_file(run)
    arms_file(run)
    evaluation_file(run)
    explanation_file(run, rng)
    run_file(run, source)
    return run
