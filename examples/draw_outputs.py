r"""Draw docs/images/outputs.png: what a run on phantoms leaves to look at.

    python examples/draw_outputs.py RUN

RUN is a finished run on phantoms (of a run on patients' images the picture would show patients):

    python -c "from pathlib import Path; from sonobalance.data.phantoms import make_phantoms
    make_phantoms(Path('phantoms'), images=160, seed=3)"
    sonobalance run phantoms --out runs/phantoms --preset cpu --weights WEIGHTS \
        --gan.image-size-px 64 --gan.total-kimg 8 --gan.autoencoder-kimg 8 --classifier.epochs 3
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import imread

from sonobalance.artefacts import as_seen, splits_of
from sonobalance.data.images import letterbox, read_gray
from sonobalance.files import atomic, read_json
from sonobalance.runs import Run, open_run
from sonobalance.synthesis.summary import training_images

mpl.use("Agg")
from matplotlib import pyplot as plt

TARGET = Path(__file__).parent.parent / "docs" / "images" / "outputs.png"
LABEL, SIDE, SHOWN = "malignant", 160, 7
MAPS = ("class-evidence",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path)
    run = open_run(parser.parse_args().run)
    rows = {f"{LABEL}: real, TRAIN": real(run), f"{LABEL}: synthetic, accepted": synthetic(run)}
    cases = explained(run)
    for k, name in enumerate(("TEST", *MAPS)):
        rows[name] = [case[k] for case in cases]
    figure, axes = plt.subplots(len(rows), SHOWN, figsize=(SHOWN * 1.25, len(rows) * 1.42))
    for line, (title, pictures) in zip(axes, rows.items(), strict=True):
        draw(line, title, pictures)
    figure.tight_layout(pad=0.3)
    with atomic(TARGET) as path:
        figure.savefig(path, format="png", dpi=90)
    print(TARGET)


def draw(line: Iterable[Axes], title: str, pictures: list[np.ndarray]) -> None:
    """A row of pictures below its title."""
    for place, axis in enumerate(line):
        axis.axis("off")
        if place < len(pictures):
            axis.imshow(pictures[place], cmap="gray")
        if not place:
            axis.set_title(title, loc="left", fontsize=9)


def real(run: Run) -> list[np.ndarray]:
    train = splits_of(run).of("train")
    files = [train.file(r) for r in train if r.label == LABEL]
    return [letterbox(read_gray(file), SIDE) for file in files[:SHOWN]]


def synthetic(run: Run) -> list[np.ndarray]:
    made = as_seen(training_images(run.path("synthesis"), every_round=True))
    files = [made.file(r) for r in made if r.label == LABEL]
    return [letterbox(read_gray(file), SIDE) for file in files[:SHOWN]]


def explained(run: Run) -> list[tuple[np.ndarray, ...]]:
    """Of cases of the gallery: the image and its evidence maps, as the report shows them."""
    cases = read_json(run.path("explanation.json"))["cases"]
    found = []
    for case in cases:
        panels = {panel["map"]: panel["image"] for panel in case["panels"]}
        if case["outline"] and set(MAPS) <= set(panels):
            paths = (case["image"], *(panels[name] for name in MAPS))
            found.append(tuple(imread(run.path(path)) for path in paths))
    return found[:SHOWN]


if __name__ == "__main__":
    main()
