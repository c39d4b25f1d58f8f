"""Explain every fold's model of a benchmark on its own TEST fold, and pool the scores.

python benchmarks/explain_folds.py BENCHMARK docs/results/busi-explain.json --arm none

BENCHMARK is the folder of `sonobalance benchmark` (or several run folders, one per fold). Every
image is explained by the model that never saw it, its relatives included; evidence is for the class
that was predicted. Each fold's scores stay in WORK, so that a killed command goes on where it was.

--against ARM   explain the same images by the models of a second arm and give the paired change
--external DIR  explain other images instead: each is dealt, with its patient, to one fold's model
--heavy N       images per fold with integrated gradients and occlusion
--checks N      images per fold with curves of deletion and insertion, half as many sanity checks
--images N      at most N images of an external set
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sonobalance import runs
from sonobalance.arms import SYNTHETIC
from sonobalance.artefacts import collapsed, device_of, manifest_of, splits_of
from sonobalance.classify.predict import Predictor
from sonobalance.config import DataSettings, ExplanationSettings
from sonobalance.data.loading import load_images
from sonobalance.data.manifest import Manifest
from sonobalance.data.sources import index_folder
from sonobalance.environment import environment
from sonobalance.evaluation.intervals import group_weights, mean_interval
from sonobalance.explaining import originals_of
from sonobalance.explanation.cases import Facts
from sonobalance.explanation.examples import Known
from sonobalance.explanation.explain import explain_images
from sonobalance.explanation.localisation import RATIO
from sonobalance.explanation.marks import read_marks
from sonobalance.files import read_json, sha256_of, write_json
from sonobalance.randomness import numpy_generator
from sonobalance.record import RECORD
from sonobalance.runs import Run

LESIONS = ("benign", "malignant")
RESAMPLES, LEVEL = 2000, 0.95
TESTED = ("faithfulness", "sensitivity", "sanity", "examples")


@dataclass(frozen=True)
class Work:
    """What one model explains.

    Attributes:
        run: the fold's run folder.
        arm: folder of its model below `classifier/`.
        images: manifest of what is explained.
        groups: image id → group.
        marks: file of burnt-in marks.
        folder: where scores go.
    """

    run: Run
    arm: str
    images: Manifest
    groups: dict[str, str]
    marks: Path
    folder: Path


def main() -> None:
    given = arguments()
    arms = [given.arm, given.against] if given.against else [given.arm]
    tables, documents = [], []
    for arm in arms:
        found = [explained(work, given) for work in works(given, arm)]
        tables.append(pd.concat([scores for scores, _ in found], ignore_index=True))
        documents.append([document for _, document in found])
    write_json(given.out, outcome(given, tables, documents))
    print(given.out)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("benchmark", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    parser.add_argument("--arm", default="none")
    parser.add_argument("--against", default="")
    parser.add_argument("--external", type=Path)
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--heavy", type=int, default=6)
    parser.add_argument("--checks", type=int, default=16)
    parser.add_argument("--work", type=Path, default=Path("runs/explained"))
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def works(given: argparse.Namespace, arm: str) -> list[Work]:
    """One piece of work per fold of the first seed."""
    folders = [folder for place in given.benchmark for folder in fold_folders(place, arm)]
    opened = [runs.open_run(folder) for folder in folders]
    left = [run.folder.name for run in opened if not has_model(run, arm)]
    if left or not opened:
        raise SystemExit(
            f"Expected trained folds of the arm {arm!r} in {given.benchmark}, but "
            f"{', '.join(left) or 'all'} have no model; finish the benchmark first."
        )
    dealt = external(given, len(folders)) if given.external else [own(run) for run in opened]
    return [
        Work(run, trained_arm(run, arm), *part, given.work / arm / run.folder.name)
        for run, part in zip(opened, dealt, strict=True)
    ]


def fold_folders(place: Path, arm: str) -> list[Path]:
    """The folders of the arm's folds with seed 0, or the folder itself where it is a run."""
    if (place / RECORD).is_file():
        return [place]
    return sorted((place / "units").glob(f"{arm}-seed0-fold*"))


def trained_arm(run: Run, arm: str) -> str:
    """The arm whose model stands for it: `over-sampling` where its GAN collapsed."""
    return "over-sampling" if arm in SYNTHETIC and collapsed(run) else arm


def has_model(run: Run, arm: str) -> bool:
    return run.path(f"classifier/{trained_arm(run, arm)}/model.json").is_file()


def own(run: Run) -> tuple[Manifest, dict[str, str], Path]:
    splits = splits_of(run)
    base = run.folder.parent.parent / "base" / "marks.csv"
    marks = run.path("marks.csv") if run.path("marks.csv").is_file() else base
    return splits.of("test"), dict(splits.group), marks


def external(given: argparse.Namespace, folds: int) -> list[tuple[Manifest, dict[str, str], Path]]:
    """Images of another set, dealt to the folds' models patient by patient."""
    manifest, _ = index_folder(given.external, DataSettings())
    group = {r.id: r.patient or r.id for r in manifest}
    names = sorted(set(group.values()))
    order = numpy_generator(given.seed, "explain", "external").permutation(len(names))
    place = {names[k]: i for i, k in enumerate(order)}
    ids = sorted(manifest.ids, key=lambda key: (place[group[key]], key))
    ids = ids[: given.images] if given.images else ids
    parts = [[key for key in ids if place[group[key]] % folds == fold] for fold in range(folds)]
    return [(manifest.select(part), group, Path("none")) for part in parts]


def explained(work: Work, given: argparse.Namespace) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Scores and document of one fold, made now or found in its folder."""
    document, scores = work.folder / "explanation.json", work.folder / "maps" / "scores.csv"
    model = work.run.path(f"classifier/{work.arm}")
    key = {
        "weights": sha256_of(model / "weights.safetensors"), "heavy": given.heavy,
        "checks": given.checks, "seed": given.seed, "images": sorted(work.images.ids),
    }  # fmt: skip
    if not document.is_file() or read_json(document)["key"] != key:
        write_json(document, explanation(work, given) | {"key": key})
    print(work.folder, flush=True)
    return pd.read_csv(scores, dtype={"group": str}), read_json(document)


def explanation(work: Work, given: argparse.Namespace) -> dict[str, Any]:
    predictor = Predictor.load(work.run.path(f"classifier/{work.arm}"), device_of(work.run))
    size, classes = predictor.image_size_px, predictor.classes
    originals, masks = originals_of(work.images)
    images = load_images(work.images, size, classes, work.run.folder.name)
    train = manifest_of(work.run).select(splits_of(work.run).of("train").ids)
    settings = ExplanationSettings(
        heavy_images=given.heavy, faithfulness_images=given.checks,
        sanity_images=given.checks // 2, gallery_per_class=1,
    )  # fmt: skip
    return explain_images(
        predictor.model, predictor.model.target_layer, images, originals, masks,
        [work.groups[key] for key in work.images.ids], settings,
        seed=given.seed, folder=work.folder, probabilities=predictor.probabilities(images),
        marks=read_marks(work.marks, images.ids, [image.shape for image in originals]),
        arm=work.arm, facts=Facts(Known(load_images(train, size, classes, "TRAIN"))),
        mirror=predictor.mirror, title=work.run.folder.name,
    )  # fmt: skip


def outcome(
    given: argparse.Namespace, tables: list[pd.DataFrame], documents: list[list[dict[str, Any]]]
) -> dict[str, Any]:
    """The figures of all folds together."""
    table, first = tables[0], documents[0]
    lesions = table[table["label"].isin(LESIONS)]
    right = lesions["label"] == lesions["predicted"]
    return {
        "command": command(given),
        "trained_by": trained_by(given),
        "data": (given.external or first_source(given)).name,
        "arm": given.arm, "folds": len(first), "seed": given.seed,
        "n": int(lesions["id"].nunique()), "groups": int(lesions["group"].nunique()),
        "classes": list(LESIONS), "target": "predicted",
        "target_layer": first[0]["target_layer"], "fine_layers": first[0]["fine_layers"],
        "mirror": first[0]["mirror"], "environment": environment(),
        "maps": summary(lesions, given.seed),
        "by_class": {k: summary(rows, given.seed) for k, rows in table.groupby("label")},
        "right_wrong": {
            "right": summary(lesions[right], given.seed),
            "wrong": summary(lesions[~right], given.seed),
        },
        "before_after": changes(given, *tables) if len(tables) == 2 else None,
        "by_fold": [{name: document[name] for name in TESTED} for document in first],
    }  # fmt: skip


def command(given: argparse.Namespace) -> str:
    """The command line that makes the same figures."""
    parts = [f"--arm {given.arm} --heavy {given.heavy} --checks {given.checks}"]
    parts += [f"--against {given.against}"] if given.against else []
    parts += [f"--external {given.external.name}"] if given.external else []
    parts += [f"--images {given.images}"] if given.images else []
    return " ".join(["python benchmarks/explain_folds.py BENCHMARK OUT", *parts])


def trained_by(given: argparse.Namespace) -> list[dict[str, Any]]:
    """What made the models: the benchmark's command if there is one, backbone and side in px."""
    out = []
    for place in given.benchmark:
        run, told = runs.open_run(fold_folders(place, given.arm)[0]), place / "benchmark.json"
        model = read_json(run.path(f"classifier/{trained_arm(run, given.arm)}/model.json"))
        out.append({
            "command": read_json(told)["command"] if told.is_file() else None,
            "backbone": model["backbone"], "image_size_px": model["preprocessing"]["image_size_px"],
        })  # fmt: skip
    return out


def first_source(given: argparse.Namespace) -> Path:
    return runs.open_run(fold_folders(given.benchmark[0], given.arm)[0]).source


def by_map_and_score(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    for (name, score), rows in table.groupby(["map", "score"], sort=False):
        yield (str(name), str(score)), rows


def summary(table: pd.DataFrame, seed: int) -> dict[str, dict[str, dict[str, Any]]]:
    """Map → metric → value, interval clustered by group, chance and number of images."""
    out: dict[str, dict[str, dict[str, Any]]] = {}
    for (name, score), rows in by_map_and_score(table):
        value, chance = rows["value"].to_numpy(float), rows["chance"].to_numpy(float)
        weights = resamples(rows["group"].tolist(), seed)
        scores = out.setdefault(name, {})
        scores[score] = mean_interval(value, weights, LEVEL).as_json() | {
            "chance": float(chance.mean()), "n": len(rows),
        }  # fmt: skip
        if score == "energy":
            ratio = mean_interval(value, weights, LEVEL, chance).as_json()
            scores[RATIO] = ratio | {"chance": 1.0, "n": len(rows)}
    return out


def changes(given: argparse.Namespace, table: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any]:
    """Paired change of every score from the first arm to the second, on the same images."""
    keys = ["id", "group", "label", "map", "score"]
    both = table.merge(other, on=keys, suffixes=("_before", "_after"))

    def over(rows: pd.DataFrame) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for (name, score), some in by_map_and_score(rows):
            change = (some["value_after"] - some["value_before"]).to_numpy(float)
            interval = mean_interval(change, resamples(some["group"].tolist(), given.seed), LEVEL)
            means = {when: float(some[f"value_{when}"].mean()) for when in ("before", "after")}
            out.setdefault(name, {})[score] = means | {
                "difference": interval.value, "low": interval.low, "high": interval.high,
                "n": len(some),
            }  # fmt: skip
        return out

    return {
        "before": given.arm, "after": given.against,
        "maps": over(both[both["label"].isin(LESIONS)]),
        "by_class": {str(label): over(rows) for label, rows in both.groupby("label")},
    }  # fmt: skip


def resamples(groups: Sequence[str], seed: int) -> np.ndarray:
    return group_weights(
        np.asarray(groups, np.str_), RESAMPLES, numpy_generator(seed, "explain", "bootstrap")
    )


if __name__ == "__main__":
    main()
