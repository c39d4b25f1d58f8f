"""Speckle images and plain files for the made-up run."""

import csv
import json

import cv2
import numpy as np

CLASSES = ("benign", "malignant", "normal")
SIZE = 64  # px, of synthetic images


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
