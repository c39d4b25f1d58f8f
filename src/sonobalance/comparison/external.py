"""Testing on another data set: train here, test there.

Every model of the benchmark predicts every image of the external set, in the external set's
classes. Nothing is fitted there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sonobalance import runs
from sonobalance.artefacts import device_of, groups_of, manifest_of, trained_arms
from sonobalance.classify.ancestry import read_ancestry
from sonobalance.classify.predict import Predictor
from sonobalance.config import DataSettings, Settings
from sonobalance.data.cleaning import cleaned
from sonobalance.data.loading import load_images
from sonobalance.data.manifest import Manifest
from sonobalance.data.relatives import independent_groups
from sonobalance.data.sources import read_source
from sonobalance.errors import InputError
from sonobalance.evaluation.predictions import write_predictions
from sonobalance.files import sha256_of
from sonobalance.fingerprint import digest_of_content
from sonobalance.gan.places import folder_of
from sonobalance.progress import console
from sonobalance.randomness import derive
from sonobalance.runs import Run
from sonobalance.stages import STAGES

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class External:
    """Another data set, ready to be predicted.

    Attributes:
        folder: its run folder, indexed and audited.
        ids: images of a mapped class whose file neither the benchmark nor what it starts from has.
        mapped: class here → class there.
        shared: images left out because a model may have been trained on them (promise P1).
        name: file of its predictions in a unit's folder; another set or mapping has another name.
    """

    folder: Path
    ids: tuple[str, ...]
    mapped: Mapping[str, str]
    shared: int
    name: str

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that are told apart there."""
        return tuple(sorted(set(self.mapped.values())))


def open_external(source: Path, out: Path, base: Run, *, redo: bool = False) -> External:
    """Index and audit the external set, once, and match its classes.

    Raises:
        InputError: it cannot be used, or shares fewer than two classes.
    """
    run = _indexed(source, out, base, redo=redo)
    theirs, ours = manifest_of(run), manifest_of(base)
    mapped = class_map(ours.classes, theirs.classes, base.settings.evaluation.external_classes)
    seen = {r.sha256 for r in ours}.union(*map(read_ancestry, _ancestors(base.settings)))
    wanted = [r for r in theirs if r.label in set(mapped.values())]
    ids = tuple(r.id for r in wanted if r.sha256 not in seen)
    if not ids:
        raise InputError(
            f"Expected images in {source} that no model was trained on, but the benchmark's own "
            "images and those of its ancestors hold them all."
        )
    known = [sha256_of(run.path(name)) for name in ("manifest.csv", "groups.csv")]
    key = derive(0, *known, str(sorted(mapped.items())), *ids)
    return External(run.folder, ids, mapped, len(wanted) - len(ids), f"external-{key:016x}.csv")


def _ancestors(settings: Settings) -> list[Path]:
    """Folders of the classifiers and the GAN that a model starts from or builds on."""
    classifier, gan = settings.classifier, settings.gan
    start = None if gan.init is None else folder_of(gan.init)
    return [folder for folder in (classifier.init, classifier.partner, start) if folder]


def _indexed(source: Path, out: Path, base: Run, *, redo: bool) -> Run:
    source = source.resolve()
    place = out / "external" / f"{source.name}-{digest_of_content(str(source))[:6]}"
    place.mkdir(parents=True, exist_ok=True)
    changes = {"arms": (), "data": _readable(source, base.settings.data)}
    run = runs.create(place, source, base.settings.model_copy(update=changes), None)
    for name in ("index", "audit"):
        run.perform(STAGES[name], redo=redo)
    return run


def _readable(source: Path, ours: DataSettings) -> DataSettings:
    """Another set may be laid out otherwise, and name its patients otherwise or not at all."""
    try:
        found = read_source(source, ours)
    except InputError:
        ours = ours.model_copy(update={"layout": "auto"})
        found = read_source(source, ours)
    if not ours.patient_pattern or any(c.patient for c in found.candidates):
        return ours
    console.print(
        f"data.patient_pattern finds no patient in {source}; each of its images counts as one."
    )
    return ours.model_copy(update={"patient_pattern": ""})


def class_map(
    classes: Sequence[str], external: Sequence[str], given: Mapping[str, str]
) -> dict[str, str]:
    """Class here → class there, for the classes that have one.

    Raises:
        InputError: a class of either side is unknown, or fewer than two classes are told apart.
    """
    for ours, theirs in given.items():
        if ours not in classes or theirs not in external:
            raise InputError(
                f"Expected `evaluation.external_classes` to map classes among "
                f"{', '.join(classes)} to classes among {', '.join(external)}, but got "
                f"{ours!r} → {theirs!r}."
            )
    mapped = dict(given) or {name: name for name in classes if name in external}
    if len(set(mapped.values())) < 2:
        raise InputError(
            f"Expected two or more classes in common with the external set, whose classes are "
            f"{', '.join(external)}; set `evaluation.external_classes`."
        )
    return mapped


def translated(
    probabilities: Floats, classes: Sequence[str], mapped: Mapping[str, str]
) -> tuple[Floats, tuple[str, ...]]:
    """(N, K) probabilities of our classes → (N, L) of the external ones, and their names.

    Classes that become one are added up; the probability of classes without a counterpart is
    shared out in proportion, as if they had been ruled out beforehand.
    """
    names = tuple(sorted(set(mapped.values())))
    matrix = np.array([[mapped.get(ours) == theirs for theirs in names] for ours in classes])
    kept = np.maximum(probabilities @ matrix.astype(np.float64), 1e-12)
    return kept / kept.sum(1, keepdims=True), names


def predict_external(folder: Path, arm: str, external: External) -> None:
    """Predict the external set with the model of a finished unit, unless that was done."""
    unit, other = runs.open_run(folder), runs.open_run(external.folder)
    path = unit.path(external.name)
    if path.is_file():
        return
    whole = manifest_of(other)
    images, groups = whole.select(external.ids), independent_groups(whole, groups_of(other))
    trained = trained_arms(unit)[0]
    predictor = Predictor.load(unit.path(f"classifier/{trained}"), device_of(unit))
    with cleaned(unit.settings.clean_marks):
        probabilities = _probabilities(predictor, images)
    p, names = translated(probabilities, predictor.classes, external.mapped)
    rows: list[dict[str, Any]] = [
        {
            "arm": arm, "id": r.id, "path": r.path, "part": "test", "label": r.label,
            "group": groups[r.id], "predicted": names[int(row.argmax())],
        } | {f"p_{name}": float(value) for name, value in zip(names, row, strict=True)}
        for r, row in zip(images, p, strict=True)
    ]  # fmt: skip
    write_predictions(path, pd.DataFrame(rows))


def _probabilities(predictor: Predictor, images: Manifest) -> Floats:
    """(N, K) in our classes; the external labels are not looked at."""
    pixels = load_images(images, predictor.image_size_px, images.classes, "external")
    return predictor.probabilities(replace(pixels, classes=predictor.classes))
