"""What painting over burnt-in marks does to what can be found, and to a classifier.

    sonobalance audit Dataset_BUSI_with_GT --out RUN
    python benchmarks/clean_marks.py RUN --weights FILE --out docs/results/clean-marks.json

The same frozen backbone and regularised regression, once on the images as they are and once on
cleaned ones, in the same grouped folds (groups of the audit kept whole, every repeat with new
folds). The third row is trained on images as they are and tested on cleaned ones: what it loses
is what it had read from the marks.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sonobalance.artefacts import groups_of, manifest_of
from sonobalance.classify.features import extract_features
from sonobalance.data.audit.marks import KINDS, find_marks
from sonobalance.data.audit.shortcuts import guess_class
from sonobalance.data.cleaning import cleaned, mark_pixels
from sonobalance.data.dealing import grouped_folds
from sonobalance.data.images import read_color, read_gray
from sonobalance.data.loading import load_images
from sonobalance.data.manifest import Manifest
from sonobalance.environment import environment
from sonobalance.files import write_json
from sonobalance.runs import open_run

FOLDS = 5
ROWS = {"as they are": (0, 0), "cleaned": (1, 1), "trained as they are, tested cleaned": (0, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="run folder with an audit")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--size-px", type=int, default=160)
    given = parser.parse_args()
    run = open_run(given.run)
    manifest, group = manifest_of(run), groups_of(run)
    groups = [group[r.id] for r in manifest]
    features = []
    for active in (False, True):
        with cleaned(active):
            images = load_images(manifest, given.size_px, manifest.classes)
        features.append(
            extract_features(images, weights=given.weights, image_size_px=given.size_px)
        )
    labels = np.array([r.label for r in manifest])
    scores = probe(features, labels, groups, given.repeats)
    result = {
        "command": f"python benchmarks/clean_marks.py RUN --weights {given.weights.name} "
        f"--out {given.out} --repeats {given.repeats} --size-px {given.size_px}",
        "data": f"{run.record['name']}, {len(manifest)} images, {len(set(groups))} groups",
        "environment": environment(),
        "marks": marks(manifest, groups),
        "probe": {name: summary(rows) for name, rows in scores.items()},
        "cleaned_minus_as_they_are": summary(scores["cleaned"] - scores["as they are"]),
    }
    write_json(given.out, result)
    sys.stdout.write(given.out.read_text())


def probe(
    features: list[NDArray[np.float32]], labels: NDArray[np.str_], groups: list[str], repeats: int
) -> dict[str, NDArray[np.float64]]:
    """(repeats, 2) macro-F1 and balanced accuracy of each way, over all images once a repeat."""
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in ROWS}
    for repeat in range(repeats):
        fold = grouped_folds(labels.tolist(), groups, FOLDS, repeat)
        for name, (shown, tested) in ROWS.items():
            guessed = labels.copy()
            for k in range(FOLDS):
                model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
                model.fit(features[shown][fold != k], labels[fold != k])
                guessed[fold == k] = model.predict(features[tested][fold == k])
            scores[name].append(
                (
                    float(f1_score(labels, guessed, average="macro")),
                    float(balanced_accuracy_score(labels, guessed)),
                )
            )
    return {name: np.array(rows) for name, rows in scores.items()}


def summary(rows: NDArray[np.float64]) -> dict[str, list[float] | float]:
    """Mean over repeats, and every repeat."""
    return {
        "macro_f1": round(float(rows[:, 0].mean()), 4),
        "balanced_accuracy": round(float(rows[:, 1].mean()), 4),
        "macro_f1_of_repeats": rows[:, 0].round(4).tolist(),
    }


def marks(manifest: Manifest, groups: list[str]) -> dict[str, object]:
    """Images with marks, and how well their kinds give the class away, before and after."""
    labels = [r.label for r in manifest]
    counts: list[list[list[int]]] = [[], []]
    painted = []
    for record in manifest:
        path = manifest.file(record)
        image = read_color(path, record.frame)
        painted.append(float(mark_pixels(image).mean()))
        with cleaned(True):
            after = cv2.cvtColor(read_gray(path, record.frame), cv2.COLOR_GRAY2RGB)
        for side, shown in enumerate((image, after)):
            found = [mark.kind for mark in find_marks(shown).found]
            counts[side].append([found.count(kind) for kind in KINDS])
    guesses = [guess_class(side, labels, groups, 0) for side in counts]
    return {
        "images_with_marks_before_and_after": [sum(any(row) for row in side) for side in counts],
        "share_of_pixels_painted_in_images_with_any": round(
            float(np.mean([share for share in painted if share > 0])), 5
        ),
        "class_guessed_from_marks_before_and_after": [
            guess.as_json() if guess else None for guess in guesses
        ],
    }


if __name__ == "__main__":
    main()
