"""Audit, split and balance for a classifier of your own, and see what balancing changed.

    python examples/own_code.py            # on phantoms
    python examples/own_code.py FOLDER     # as `sonobalance index` takes it, with lesion masks

sonobalance finds relatives and deals the images; `CopyPasteBalancer` balances TRAIN. Put your own
network in the place of `features` and the regression, and `SyntheticBalancer`, which trains a
generator, in the place of the balancer. TEST holds real images without relatives in TRAIN.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import sonobalance
from sonobalance import BalancedDataset, CopyPasteBalancer
from sonobalance.data.phantoms import make_phantoms
from sonobalance.data.split import Part

SIDE = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", help="phantoms when not given")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder, run = given.folder or Path(place, "phantoms"), Path(place, "run")
        if given.folder is None:
            make_phantoms(folder, images=160)
        sonobalance.audit(folder, out=run)
        sonobalance.split(run)
        train, masks, labels, classes = part(run, "train")
        test, _, truth, _ = part(run, "test")

    balancer = CopyPasteBalancer(image_size_px=SIDE, random_state=0)
    balanced, more = balancer.fit_resample(train, labels, masks=masks)
    print(f"TRAIN {counts(labels, classes)}, balanced {counts(more, classes)}")
    for name, images, targets in (("as they are", train, labels), ("balanced", balanced, more)):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=2000))
        found = model.fit(features(images), targets).predict(features(test))
        recalls = recall_score(truth, found, labels=range(len(classes)), average=None)
        shown = ", ".join(f"{c} {r:.2f}" for c, r in zip(classes, recalls, strict=True))
        print(f"recall on {len(test)} TEST images, TRAIN {name}: {shown}")


def part(run: Path, name: Part) -> tuple[np.ndarray, list[np.ndarray | None], np.ndarray, tuple]:
    """Real images (N, S, S) uint8, masks of those that have one, labels (N,), class names."""
    data = BalancedDataset(run, name, size_px=SIDE, synthetic=False, masks=True)
    items = [data[i] for i in range(len(data))]
    images = np.stack([(255 * image[0]).round().byte().numpy() for image, _, _ in items])
    known = zip(items, data.masked, strict=True)
    masks = [mask[0].numpy() if masked else None for (_, _, mask), masked in known]
    return images, masks, data.targets.numpy(), data.classes


def features(images: np.ndarray) -> np.ndarray:
    """(N, F): grey values at 16 px, and how rough the image is there."""
    small = [cv2.resize(x, (16, 16), interpolation=cv2.INTER_AREA).ravel() for x in images]
    edges = [cv2.Laplacian(x.astype(np.float32), cv2.CV_32F) ** 2 for x in images]
    rough = [cv2.resize(e, (8, 8), interpolation=cv2.INTER_AREA).ravel() ** 0.5 for e in edges]
    return np.hstack([small, rough])


def counts(labels: np.ndarray, classes: tuple) -> str:
    return ", ".join(f"{name} {int((labels == k).sum())}" for k, name in enumerate(classes))


if __name__ == "__main__":
    main()
