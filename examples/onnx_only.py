"""Use an exported model without torch and without sonobalance: onnxruntime, numpy and Pillow.

    sonobalance export-onnx BUNDLE --out model.onnx
    python examples/onnx_only.py model.onnx IMAGE...

Prints one JSON object per image. `letterbox` gives bit for bit the pixels of OpenCV's resize,
which the model was trained with; copy it into your own program.

Research software, not a medical device: never use it to decide about a patient.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def read_gray(path: str) -> np.ndarray:
    """(H, W) uint8 grey values, upright, transparency on black, ITU-R BT.601 luma."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):
        return eight_bit(np.asarray(image))
    if image.has_transparency_data:
        full = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", full.size, (0, 0, 0, 255)), full)
        image = image.convert("RGB")
    if image.mode not in {"1", "L"}:
        image = image.convert("RGB")
    return np.asarray(image.convert("L"))


def eight_bit(values: np.ndarray) -> np.ndarray:
    """Grey values of 10 to 16 bits over the top of the smallest depth that holds the maximum."""
    top = next(2**bits - 1 for bits in (8, 10, 12, 14, 16, 32) if values.max() < 2**bits)
    return np.rint(np.clip(values.astype(np.float32), 0, None) * np.float32(255 / top)).astype(
        np.uint8
    )


def letterbox(image: np.ndarray, size: int) -> np.ndarray:
    """(H, W) uint8 → (size, size) uint8: aspect ratio kept, black padding, centred."""
    height, width = image.shape
    scale = size / max(height, width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    resize = shrink if max(height, width) > size else enlarge
    small = image if inner == image.shape else resize(image, *inner)
    out = np.zeros((size, size), np.uint8)
    top, left = (size - inner[0]) // 2, (size - inner[1]) // 2
    out[top : top + inner[0], left : left + inner[1]] = small
    return out


def shrink(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area averaging in float32, in the order in which OpenCV adds."""
    rows = weighted(image.astype(np.float32).T, area_weights(image.shape[1], width)).T
    mean = weighted(rows, area_weights(image.shape[0], height))
    return np.rint(mean).clip(0, 255).astype(np.uint8)


def area_weights(old: int, new: int) -> list[list[tuple[int, np.float32]]]:
    """For each new pixel: the old pixels it covers, and their shares."""
    scale = 1.0 / (new / old)
    out = []
    for i in range(new):
        low, high = i * scale, (i + 1) * scale
        cell = min(scale, old - low)
        last = min(int(np.floor(high)), old - 1)
        first = min(int(np.ceil(low)), last)
        taps = [(first - 1, np.float32((first - low) / cell))] if first - low > 1e-3 else []
        taps += [(k, np.float32(1.0 / cell)) for k in range(first, last)]
        if high - last > 1e-3:
            taps.append((last, np.float32(min(high - last, 1.0, cell) / cell)))
        out.append(taps)
    return out


def weighted(values: np.ndarray, weights: list[list[tuple[int, np.float32]]]) -> np.ndarray:
    """Weighted sums of rows, one tap after the other."""
    out = np.zeros((len(weights), values.shape[1]), np.float32)
    for tap in range(max(map(len, weights))):
        chosen = [row[tap] if tap < len(row) else (0, np.float32(0)) for row in weights]
        share = np.array([weight for _, weight in chosen], np.float32)
        out += values[[index for index, _ in chosen]] * share[:, None]
    return out


def enlarge(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear interpolation in the fixed-point arithmetic of OpenCV."""
    x0, x1, a0, a1 = linear_weights(image.shape[1], width, clamp=True)
    y0, y1, b0, b1 = linear_weights(image.shape[0], height, clamp=False)
    grey = image.astype(np.int64)
    rows = grey[:, x0] * a0 + grey[:, x1] * a1
    upper, lower = b0[:, None] * (rows[y0] >> 4) >> 16, b1[:, None] * (rows[y1] >> 4) >> 16
    return ((upper + lower + 2) >> 2).clip(0, 255).astype(np.uint8)


def linear_weights(old: int, new: int, *, clamp: bool) -> tuple[np.ndarray, ...]:
    """Both neighbours of each new pixel and their shares of 2048."""
    scale = 1.0 / (new / old)
    place = ((np.arange(new) + 0.5) * scale - 0.5).astype(np.float32)
    first = np.floor(place).astype(int)
    share = place - first.astype(np.float32)
    if clamp:
        share[(first < 0) | (first >= old - 1)] = 0
        first = first.clip(0, old - 1)
    left, right = np.rint((1 - share) * 2048), np.rint(share * 2048)
    neighbours = first.clip(0, old - 1), (first + 1).clip(0, old - 1)
    return *neighbours, left.astype(np.int64), right.astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model")
    parser.add_argument("images", nargs="+")
    given = parser.parse_args()
    session = onnxruntime.InferenceSession(given.model, providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    classes, size = json.loads(about["classes"]), int(about["image_size_px"])
    if json.loads(about["preprocessing"])["clean_marks"]:
        sys.exit("The model wants images without burnt-in marks; sonobalance predict removes them")
    for path in given.images:
        pixels = letterbox(read_gray(path), size)[None, None].astype(np.float32)
        probabilities = session.run(["probabilities"], {"pixels": pixels})[0][0]
        said = dict(zip(classes, map(float, probabilities), strict=True))
        print(json.dumps({"path": path, "probabilities": said, "notice": about["notice"]}))


if __name__ == "__main__":
    main()
