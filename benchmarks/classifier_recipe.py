"""What each step of the classifier's recipe was worth on VAL, fold by fold; TEST is never read.

python benchmarks/classifier_recipe.py BENCHMARK docs/results/classifier-recipe.json

BENCHMARK is the folder of a finished `sonobalance benchmark` with the arm `none`. Its questions:

steps     log-loss, accuracy and macro-F1 after the first head on frozen features, at the best and
          the last epoch of fine-tuning, and of what is kept, from `stats.jsonl`
members   the same and AUC of every member of the kept network alone and of means, mirror sides
          averaged, temperature-scaled, of one look at the whole image
looks     the same of the kept network with one look and with a second one at an enlarged part
features  which averages the head needs: the regression is fitted on parts of the kept network's
          features of TRAIN, and asked about VAL
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score

from sonobalance import runs
from sonobalance.artefacts import splits_of
from sonobalance.classify.features import model_features
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.predict import Predictor, model_logits
from sonobalance.classify.probe import fit_probe
from sonobalance.config import ZoomOn
from sonobalance.data.loading import LabelledImages, load_images
from sonobalance.environment import environment
from sonobalance.files import read_json, read_lines, write_json
from sonobalance.runs import Run
from sonobalance.temperature import fit_temperature

Columns = NDArray[np.intp]
STEPS = ("first head", "fine-tuned")
LOOKS: tuple[tuple[float, ZoomOn], ...] = (
    (1.0, "middle"), *((z, on) for on in get_args(ZoomOn) for z in (1.1, 1.2, 1.4, 1.7)),
)  # fmt: skip
LAST = {"average": "mean of all members", "best": "head fitted anew"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("benchmark", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--without", nargs="+", default=[], choices=[*QUESTIONS], help="leave out")
    given = parser.parse_args()
    units = sorted((given.benchmark / "units").glob("none-seed0-fold*"))
    done = [unit for unit in units if (unit / "classifier/none/model.json").is_file()]
    if not done:
        raise SystemExit(f"Expected trained folds of the arm none in {given.benchmark}.")
    asked = [name for name in QUESTIONS if name not in given.without]
    page = read_json(done[0] / "classifier" / "none" / "model.json")
    result = {
        "command": " ".join([
            "python benchmarks/classifier_recipe.py BENCHMARK OUT",
            *(["--without", *given.without] if given.without else []),
        ]),
        "part": "VAL", "folds": len(done), "settings": page["settings"],
        "partners": page["partners"],
        **{
            name: averaged([QUESTIONS[name](runs.open_run(unit)) for unit in done])
            for name in asked
        },
        "environment": environment(),
    }  # fmt: skip
    write_json(given.out, result)
    print(given.out)


def steps_of(run: Run) -> dict[str, dict[str, float]]:
    """Scores on VAL after each step of the first backbone's training, and of what is kept."""
    folder = run.path("classifier/none")
    rows = read_lines(folder / "stats.jsonl")
    tuned = [row for row in rows[1:] if row["train_loss"] is not None]
    page = read_json(folder / "model.json")
    found = {
        "first head on frozen features": rows[0],
        "best epoch of fine-tuning": min(tuned, key=lambda row: row["val_log_loss"]),
        "last epoch of fine-tuning": tuned[-1],
        LAST[page["settings"]["keep"]]: rows[-1],
        "kept, mirror averaged": {
            "val_log_loss": page["validation"]["log_loss"], **page["validation"]
        },
    }  # fmt: skip
    names = {"log_loss": "val_log_loss", "accuracy": "accuracy", "macro_f1": "macro_f1"}
    return {
        step: {name: row[column] for name, column in names.items()} for step, row in found.items()
    }


def members_of(run: Run) -> dict[str, dict[str, float]]:
    """Scores on VAL of each member and of the means of some."""
    predictor, splits = Predictor.load(run.path("classifier/none")), splits_of(run)
    val = load_images(splits.of("val"), predictor.image_size_px, predictor.classes, "VAL")
    model = predictor.model
    partners = [p for p in model.partners if isinstance(p, AttentiveClassifier)]
    model.zoom = 1.0
    mean = model_logits(model, val, mirror=predictor.mirror) * (1 + len(partners))
    first, *others = (model_logits(partner, val, mirror=predictor.mirror) for partner in partners)
    tuned = mean - first - sum(others)
    names = [*STEPS, *names_of(predictor.description)]
    alone = dict(zip(names, [first, tuned, *others], strict=True))
    found = {}
    for size in range(1, 1 + len(names)):
        for chosen in combinations(names, size):
            logits = np.mean([alone[name] for name in chosen], axis=0)
            targets = val.targets.numpy()
            found[" + ".join(chosen)] = scores(logits / fit_temperature(logits, targets), targets)
    return found


def names_of(page: dict[str, Any]) -> list[str]:
    """Of the members beyond the first head and its fine-tuning; with one fine-tuning of each."""
    partner = ["partner"] if page["partner_sha256"] else []
    second = page["partners"][1 + len(partner) :]
    return [*partner, *(f"{step} of {name}" for step, name in zip(STEPS, second, strict=False))]


def looks_of(run: Run) -> dict[str, dict[str, float]]:
    """Scores on VAL of the kept network, mirror sides averaged, by how it looks at an image."""
    predictor, splits = Predictor.load(run.path("classifier/none")), splits_of(run)
    val = load_images(splits.of("val"), predictor.image_size_px, predictor.classes, "VAL")
    found, targets = {}, val.targets.numpy()
    for zoom, zoom_on in LOOKS:
        predictor.model.zoom, predictor.model.zoom_on = zoom, zoom_on
        logits = model_logits(predictor.model, val, mirror=predictor.mirror)
        name = "the whole image" if zoom == 1 else f"and its {zoom_on} enlarged {zoom} times"
        found[name] = scores(logits / fit_temperature(logits, targets), targets)
    return found


def features_of(run: Run) -> dict[str, dict[str, float]]:
    """Scores on VAL of a regression on parts of the kept network's features."""
    predictor, splits = Predictor.load(run.path("classifier/none")), splits_of(run)
    loaded = [
        load_images(splits.of(part), predictor.image_size_px, predictor.classes, part)
        for part in ("train", "val")
    ]
    train, val = (both_sides(predictor.model, images) for images in loaded)
    c = predictor.description["settings"]["head_c"] / 2
    targets = loaded[0].targets.numpy()
    found = {}
    for name, columns in blocks(predictor.model).items():
        probe = fit_probe(np.concatenate([x[:, columns] for x in train]), np.tile(targets, 2), c=c)
        logits = sum(probe.logits(x[:, columns]) for x in val) / 2
        found[name] = scores(np.asarray(logits), loaded[1].targets.numpy())
    return found


def both_sides(model: AttentiveClassifier, images: LabelledImages) -> list[NDArray[np.float32]]:
    side = images.pixels.shape[-1]
    return [
        model_features(model, images, image_size_px=side, mirrored=mirrored)
        for mirrored in (False, True)
    ]


def blocks(model: AttentiveClassifier) -> dict[str, Columns]:
    """Names of feature parts and their columns: the order is that of `AttentiveClassifier`."""
    lesion = model.lesion
    if lesion is None or model.head is None:
        raise SystemExit("Expected models with lesion attention.")
    last, width = np.arange(model.head.in_features), lesion.channels[-1]
    parts: dict[str, list[Columns]] = {"mean": [], "lesion": [], "square": [], "square lesion": []}
    start = model.head.in_features
    for channels in lesion.channels[:-1]:
        for part in parts.values():
            part.append(np.arange(start, start + channels))
            start += channels
    inside = np.arange(start, start + width)
    levels = np.concatenate([*parts["mean"], *parts["lesion"]])
    squares = np.concatenate([*parts["square"], *parts["square lesion"]])
    whole = np.concatenate([last, *parts["mean"], *parts["square"]])
    return {
        "last map, whole image": last,
        "last map, whole image and lesion": np.concatenate([last, inside]),
        "and means of three levels": np.concatenate([last, inside, levels]),
        "and means of their squares (all)": np.concatenate([last, inside, levels, squares]),
        "all, without the lesion": whole,
    }


def scores(logits: NDArray[np.floating[Any]], targets: NDArray[np.int64]) -> dict[str, float]:
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    p = shifted / shifted.sum(1, keepdims=True)
    several = {"multi_class": "ovr", "average": "macro"} if p.shape[1] > 2 else {}
    return {
        "log_loss": float(log_loss(targets, p)),
        "accuracy": float(accuracy_score(targets, p.argmax(1))),
        "macro_f1": float(f1_score(targets, p.argmax(1), average="macro")),
        "macro_auc": float(roc_auc_score(targets, p if several else p[:, 1], **several)),
    }


def averaged(folds: list[dict[str, dict[str, float]]]) -> dict[str, Any]:
    """Mean over folds, and the values of the folds."""
    if not folds:
        return {}
    return {
        step: {
            name: {
                "mean": round(float(np.mean([fold[step][name] for fold in folds])), 4),
                "folds": [round(fold[step][name], 4) for fold in folds],
            }
            for name in folds[0][step]
        }
        for step in folds[0]
    }


QUESTIONS: dict[str, Callable[[Run], dict[str, dict[str, float]]]] = {
    "steps": steps_of, "members": members_of, "looks": looks_of, "features": features_of,
}  # fmt: skip


if __name__ == "__main__":
    main()
