"""ROAD's imputation: missing pixels become what their neighbours make likely, plus noise.

Rong, Leemann, Borisov, Kasneci & Kasneci 2022 ("A consistent and efficient evaluation strategy for
attribution methods", section 4.2). A blurred or grey patch shows where it is, and a network may
react to the shape of the patch instead of to what is gone. Here every missing pixel is the weighted
mean of its eight neighbours, known or missing alike: one sparse linear system per image, whose
solution joins on without an edge.
"""

from __future__ import annotations

from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags
from scipy.sparse.linalg import cg

Floats = NDArray[np.float64]
TOLERANCE = 1e-3
_WEIGHTS = {
    (y, x): 1 / 6 if y == 0 or x == 0 else 1 / 12
    for y, x in product((-1, 0, 1), repeat=2)
    if (y, x) != (0, 0)
}  # of a neighbour at its side and at its corner; they add up to 1


def imputed(
    image: NDArray[np.float32],
    missing: NDArray[np.bool_],
    noise: NDArray[np.floating] | float = 0.0,
) -> NDArray[np.float32]:
    """An image with its missing pixels imputed (Rong et al. 2022, equation 8).

    Args:
        image: (H, W) float32 in [-1, 1].
        missing: (H, W) bool; where every pixel is missing, all become the image's mean.
        noise: (H, W) added where pixels are missing; the paper's is normal.
    """
    out = image.copy()
    count = int(missing.sum())
    if count == 0:
        return out
    solved = np.full(count, image.mean()) if missing.all() else _solved(image, missing)
    added = np.broadcast_to(np.asarray(noise), image.shape)[missing]
    out[missing] = np.clip(solved + added, -1, 1)
    return out


def _solved(image: NDArray[np.float32], missing: NDArray[np.bool_]) -> Floats:
    """x_p · Σ w = Σ w · (neighbour), over the neighbours that lie inside the image."""
    places = np.argwhere(missing)
    number = np.full(image.shape, -1)
    number[missing] = np.arange(len(places))
    known = np.zeros(len(places))
    total = np.zeros(len(places))
    rows, columns, values = [], [], []
    for step, weight in _WEIGHTS.items():
        there = places + step
        inside = ((there >= 0) & (there < image.shape)).all(1)
        row, (y, x) = np.flatnonzero(inside), there[inside].T
        total[row] += weight
        given = number[y, x] < 0
        known[row[given]] += weight * image[y[given], x[given]]
        rows.append(row[~given])
        columns.append(number[y[~given], x[~given]])
        values.append(np.full(int((~given).sum()), weight))
    unknown = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    system = diags(total) - csr_matrix(unknown, shape=(len(places), len(places)))
    solution: Floats = cg(
        system, known, x0=_guess(image, missing), rtol=TOLERANCE, M=diags(1 / total)
    )[0]
    return solution


def _guess(image: NDArray[np.float32], missing: NDArray[np.bool_]) -> Floats:
    """Where the solver starts: the known pixels' mean, those nearby weighing more."""
    known = (~missing).astype(np.float32)
    width = max(image.shape) / 16
    near = cv2.GaussianBlur(known, (0, 0), width)
    mean = cv2.GaussianBlur(image * known, (0, 0), width) / np.maximum(near, 1e-6)
    guess: Floats = np.where(near > 1e-3, mean, image[~missing].mean())[missing].astype(np.float64)
    return guess
