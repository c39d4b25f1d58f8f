"""A small, complete, made-up run folder: every file that the report reads, with speckle images."""

import csv
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sonobalance.data.manifest import Manifest, Record

CLASSES = ("benign", "malignant", "normal")
COUNTS = {"benign": 24, "malignant": 12, "normal": 8}
PARTS = ("train", "train", "train", "train", "val", "test")
ARMS = ("none", "dual-iterative")
SIZE = 64
REASONS = ("copy", "off-class", "unrealistic", "twin")


def speckle(rng, label, height=96, width=120):
    """A layered speckle image (height, width) uint8 with a dark lesion unless `label` is normal."""
    noise = rng.normal(size=(2, height, width)).astype(np.float32)
    amplitude = np.hypot(*(cv2.GaussianBlur(n, (0, 0), 1.2, sigmaY=0.7) for n in noise))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    gain = 1.1 + 0.4 * np.sin(y / 13 + 0.3 * np.sin(x / 21)) - y / height * 0.4
    wide, tall = {"benign": (24, 13), "malignant": (14, 20)}.get(label, (1, 1))
    cx, cy = width / 2 + rng.normal(0, 8), height / 2 + rng.normal(0, 5)
    inside = ((x - cx) / wide) ** 2 + ((y - cy) / tall) ** 2 < 1
    gain[inside & (label != "normal")] *= 0.25
    shown = 60 * np.log10(1e-2 + amplitude * gain) + 170
    return np.clip(shown, 0, 255).astype(np.uint8)


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_document(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def interval(value, half=0.05):
    return {"value": value, "low": value - half, "high": value + half}


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
    ids = [s["id"] for s in splits]
    write_document(run / "audit.json", {
        "findings": [
            *(finding("near-duplicate", ids[i : i + 2], 0.99 - i / 60,
                      f"{ids[i]} and {ids[i + 1]} show the same tissue.") for i in range(0, 20, 2)),
            finding("label-conflict", ids[23:25], 1.0,
                    f"{ids[23]} (benign) and {ids[24]} (malignant) show the same tissue."),
            finding("mark-shortcut", (), 0.6, "Marks alone tell malignant from the rest."),
            finding("imbalance", (), 0.5, "benign has 3.0 times as many images as normal."),
        ],
        "shortcuts": {"accuracy": 0.51, "chance": 0.33},
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
                "kept": kept, "reason": "" if kept else REASONS[i % len(REASONS)],
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
        {"round": r, "asked": 20, "made": 30, "added": 10, "macro_f1": 0.7 + r / 50}
        for r in (1, 2)
    ])  # fmt: skip
    write_document(folder / "synthesis.json", {"stop": {"reason": "every class is balanced"}})


def gan_files(run):
    (run / "gan").mkdir(exist_ok=True)
    rows = [{"step": 10 * i, "kimg": 0.0, "stage": "warm-up", "loss_autoencoder": 1 / i}
            for i in range(1, 9)]  # fmt: skip
    rows += [
        {"step": 80 + 10 * i, "kimg": i / 4, "stage": "adversarial", "loss_D1": 1 + 1 / i,
         "loss_D2": 0.8, "loss_G": 3 / i, "score_D1_real": 0.4, "score_D1_fake": -1 / i,
         "score_D2_real": 0.5, "score_D2_fake": -2 / i, "distance": 1 / i,
         **{f"diversity_{c}": 0.5 + i / 50 for c in CLASSES}}
        for i in range(1, 21)
    ]  # fmt: skip
    with (run / "gan" / "stats.jsonl").open("w") as handle:
        handle.writelines(json.dumps(row) + "\n" for row in rows)
    write_document(run / "gan" / "gan.json", {
        "objective": "d2gan", "kimg": 5.0, "best_kimg": 4.5, "collapsed": False,
        "stop": "The images asked for were seen.", "images": 27,
    })  # fmt: skip


def arm_scores(shift):
    names = {
        "accuracy": 0.8, "balanced_accuracy": 0.76, "macro_f1": 0.75, "macro_auc": 0.9, "ece": 0.08,
        "brier": 0.3, "log_loss": 0.6,
        **{f"recall_{c}": 0.7 for c in CLASSES}, **{f"auc_{c}": 0.9 for c in CLASSES},
    }  # fmt: skip
    return {name: interval(value + shift) for name, value in names.items()}


def evaluation_file(run):
    curve = {"fpr": [0, 0.1, 0.4, 1], "tpr": [0, 0.6, 0.9, 1]}
    bins = [
        {"low": i / 10, "high": (i + 1) / 10, "count": 3 * i, "confidence": i / 10 + 0.05,
         "accuracy": i / 10 if i > 3 else None}
        for i in range(10)
    ]  # fmt: skip
    calibrated = {"ece": interval(0.04, 0.02), "brier": interval(0.28), "log_loss": interval(0.5)}
    write_document(run / "evaluation.json", {
        "classes": CLASSES, "n": 156, "groups": 120, "n_val": 130,
        "n_by_class": {"benign": 88, "malignant": 42, "normal": 26},
        "groups_by_class": {"benign": 70, "malignant": 32, "normal": 18},
        "arms": {arm: arm_scores(0.02 * i) for i, arm in enumerate(ARMS)},
        "metrics": [
            {"name": "accuracy", "higher_is_better": True, "sentence": "Share of right answers."},
            {"name": "ece", "higher_is_better": False, "sentence": "Gap of confidence and truth."},
        ],
        "paired": [
            {"arm": "dual-iterative", "against": "none", "metric": m, "difference": 0.02,
             "low": -0.01, "high": 0.05, "verdict": "no clear difference", "sentence": "…"}
            for m in ("accuracy", "balanced_accuracy", "macro_f1", "macro_auc", "ece")
        ],
        "confusion": {arm: [[75, 9, 4], [8, 31, 3], [5, 1, 20]] for arm in ARMS},
        "calibration": {
            arm: {"bins": bins, "temperature": 1.31, "calibrated": calibrated} for arm in ARMS
        },
        "roc": {arm: dict.fromkeys(CLASSES, curve) for arm in ARMS},
        "operating": {arm: {
            "malignant": {"sensitivity_wanted": 0.95, "threshold": 0.21,
                          "sensitivity": interval(0.93), "specificity": interval(0.71)},
            "normal": None} for arm in ARMS},
        "conformal": {arm: {"coverage_wanted": 0.9, "coverage": interval(0.89),
                            "mean_size": interval(1.4), "single_share": 0.64, "empty_share": 0.0}
                      for arm in ARMS},
        "warnings": ["Only 18 independent groups of normal in TEST: its scores are uncertain."],
        "method": "Intervals: 2000 resamples of independent groups, percentiles.",
        "settings": {"confidence": 0.95}, "seed": 0,
    })  # fmt: skip


def arms_file(run):
    write_document(run / "classifier" / "arms.json", {
        "chosen": "dual-iterative", "val_macro_f1": {"none": 0.74, "dual-iterative": 0.77},
    })  # fmt: skip


def localisation(shift=0.0):
    return {
        "pointing_game": {**interval(0.8 + shift), "chance": 0.14},
        "energy_ratio": {**interval(3.1 + shift, 0.3), "chance": 1.0},
        "iou": {**interval(0.35 + shift), "chance": 0.08},
    }


def explanation_file(run, rng):
    (run / "maps").mkdir(exist_ok=True)
    cases = []
    for i in range(6):
        label, predicted = CLASSES[i % 3], CLASSES[i % 3 if i < 3 else (i + 1) % 3]
        gray = speckle(rng, label)
        color = cv2.applyColorMap(cv2.GaussianBlur(gray, (0, 0), 9), cv2.COLORMAP_VIRIDIS)
        cv2.imwrite(
            str(run / "maps" / f"{i}.png"), np.hstack([np.dstack([gray] * 3), color, color])
        )
        cases.append({
            "id": f"{label}/{label} ({i + 1})", "label": label, "predicted": predicted,
            "correct": label == predicted, "confidence": 0.7, "image": f"maps/{i}.png",
            "probabilities": {c: 0.7 if c == predicted else 0.15 for c in CLASSES},
            "alt": f"Image {i} and its map.", "rule": "right, most confident",
            "pointing_game": 1, "energy": 0.42 if label != "normal" else None,
        })  # fmt: skip
    maps = {"grad-cam": localisation(), "attention-gate": localisation(-0.1)}
    areas = {
        f"{k}_{b}": interval(0.12)
        for k in ("deletion", "insertion")
        for b in ("blur", "local_mean")
    }
    curve = {"share": [0, 0.5, 1], "map": [0.9, 0.3, 0.1], "random": [0.9, 0.6, 0.1]}
    write_document(run / "explanation.json", {
        "classes": CLASSES, "n": 156, "n_with_mask": 130, "groups": 100, "target": "predicted",
        "target_layer": "blocks.6", "maps": maps,
        "map_info": {name: {"sentence": f"{name} in words.", "n": 130, "fit": name == "grad-cam"}
                     for name in maps},
        "controls": {"random": localisation(-0.3)},
        "by_class": dict.fromkeys(CLASSES[:2], maps), "right_wrong": {"right": maps, "wrong": maps},
        "faithfulness": dict.fromkeys(maps, areas),
        "curves": {name: {"deletion_blur": curve, "insertion_blur": curve} for name in maps},
        "sanity": {name: {"stages": [{"randomised": "head", "share": 0, "rank_correlation": 0.4}],
                          "fit": name == "grad-cam", "sentence": f"{name} changes."}
                   for name in maps},
        "metrics": [
            {"name": "pointing_game", "higher_is_better": True, "sentence": "Peak in the lesion."},
            {"name": "energy_ratio", "higher_is_better": True, "sentence": "Evidence over chance."},
            {"name": "iou", "higher_is_better": True, "sentence": "Overlap at equal area."},
        ],
        "cases": cases, "settings": {}, "seed": 0,
    })  # fmt: skip


def run_file(run, source):
    stages = ("index", "audit", "split", "train-gan", "synthesize", "train", "predict", "evaluate")
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
                   "seconds": 3.7**i / 2, "peak_memory_mib": 512 * (i + 1),
                   "fingerprint": {"settings": {"seed": 3}, "inputs": {}},
                   "outputs": {f"{name}.json": hashlib.sha256(name.encode()).hexdigest()}}
            for i, name in enumerate(stages)
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
    arms_file(run)
    evaluation_file(run)
    explanation_file(run, rng)
    run_file(run, source)
    return run


@pytest.fixture(scope="session")
def whole_run(tmp_path_factory):
    """A complete made-up run; tests only read it."""
    return make_run(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def own_run(tmp_path):
    """A complete made-up run that a test may change."""
    return make_run(tmp_path)
