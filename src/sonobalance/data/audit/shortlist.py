"""Which pairs are worth a close look: nearest neighbours by two global descriptors.

One is an aggregate of the local features (VLAD: Jégou et al. 2010, CVPR, with power and intra
normalisation, then PCA), which survives crops and zooms; the other the signs of the lowest cosine
coefficients of the whole image (perceptual hash), which survives low contrast. Both exist for the
mirror image too. Vocabulary and axes come from a sample of the images themselves, so that nothing
has to be downloaded. The search is exact, in blocks of matrix products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from sonobalance.data.audit.features import Features, mirrored, unit
from sonobalance.data.audit.workers import on_each
from sonobalance.randomness import numpy_generator

Candidates = NDArray[np.int32]  # (P, 3): first < second, and 1 where the second is mirrored
Matrix = NDArray[np.float32]

WORDS = 64
ROUNDS = 12
WORD_AXES = 32
VECTOR_AXES = 384
SAMPLE_IMAGES = 500
SAMPLE_DESCRIPTORS = 60_000
HASH_SIDE = 8
BLOCK = 256  # images a thread works on at a time


def shortlist(
    features: Sequence[Features],
    neighbours: int,
    seed: int,
    *,
    mirror: bool = True,
    exhaustive_up_to: int = 0,
    workers: int = 1,
) -> Candidates:
    """Candidate pairs, each image with about `neighbours` others per descriptor, sorted.

    Args:
        features: of the images.
        neighbours: per image, descriptor and side.
        seed: of the vocabulary.
        mirror: whether to list mirrored pairs too.
        exhaustive_up_to: sets of at most so many images are listed completely; mirrored pairs
            only when the set has at most `2 * neighbours` images.
        workers: threads.

    Returns:
        (P, 3) int32, each row once: first image, second image, mirrored or not.
    """
    n = len(features)
    complete = {False} if n <= max(exhaustive_up_to, 2 * neighbours) else set()
    complete |= {True} if n <= 2 * neighbours else set()
    sides = {False, True} if mirror else {False}
    found = [_coded(*np.triu_indices(n, 1), side, n) for side in sides & complete]
    if sides - complete:
        for base, query, side in _descriptors(features, seed, workers):
            if side in sides - complete:
                near = nearest(base, query, neighbours, workers)
                own = np.repeat(np.arange(n), near.shape[1])
                found.append(_coded(own, near.ravel(), side, n))
    codes = np.unique(np.concatenate(found))
    return np.stack([codes // 2 // n, codes // 2 % n, codes % 2], axis=1).astype(np.int32)


def _coded(
    a: NDArray[np.integer[Any]], b: NDArray[np.integer[Any]], mirror: bool, n: int
) -> NDArray[np.int64]:
    """One sortable number for each pair of `n` images, whatever its order: eight bytes a pair."""
    first, second = np.minimum(a, b).astype(np.int64), np.maximum(a, b)
    return 2 * (first * n + second) + int(mirror)


def _descriptors(
    features: Sequence[Features], seed: int, workers: int
) -> list[tuple[Matrix, Matrix, bool]]:
    """Rows to search, rows to search with, and whether the latter are of the mirror images."""
    vectors, turned = aggregate(features, seed, workers)
    codes = np.stack([perceptual_hash(f.thumbnail) for f in features])
    codes_turned = np.stack([perceptual_hash(f.thumbnail[:, ::-1]) for f in features])
    return [
        (vectors, vectors, False), (vectors, turned, True),
        (codes, codes, False), (codes, codes_turned, True),
    ]  # fmt: skip


def nearest(base: Matrix, query: Matrix, count: int, workers: int = 1) -> NDArray[np.int32]:
    """Rows of `base` (N, D) most alike each row of `query` (N, D), itself excepted: (N, count)."""
    count = min(count, len(base) - 1)

    def search(start: int) -> NDArray[np.int32]:
        likeness = query[start : start + BLOCK] @ base.T
        own = np.arange(start, start + len(likeness))
        likeness[own - start, own] = -np.inf
        np.negative(likeness, out=likeness)
        return np.argpartition(likeness, count - 1, axis=1)[:, :count].astype(np.int32)

    starts = range(0, len(query), BLOCK)
    return np.concatenate(on_each(search, starts, workers, "nearest images"))


def perceptual_hash(thumbnail: NDArray[np.uint8]) -> Matrix:
    """Signs (±1) of the lowest 8 x 8 cosine coefficients but the mean: (63,) float32."""
    small = cv2.resize(thumbnail, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    low = cv2.dct(small)[:HASH_SIDE, :HASH_SIDE].ravel()[1:]
    return np.where(low > np.median(low), 1, -1).astype(np.float32)


def aggregate(features: Sequence[Features], seed: int, workers: int = 1) -> tuple[Matrix, Matrix]:
    """VLAD vectors (N, D) of the images and of their mirror images, unit length."""
    rng = numpy_generator(seed, "audit", "vocabulary")
    chosen = rng.permutation(len(features))[:SAMPLE_IMAGES]
    sample = [features[i] for i in sorted(chosen)]
    pool = np.concatenate([f.descriptors for f in sample])
    if len(pool) < 4 * WORDS:
        blank = np.zeros((len(features), 1), np.float32)
        return blank, blank
    pool = pool[np.sort(rng.permutation(len(pool))[:SAMPLE_DESCRIPTORS])]
    both = np.concatenate([unit(pool), unit(mirrored(pool))])
    centre, axes = principal_axes(both, WORD_AXES)
    words = vocabulary(((both - centre) @ axes).astype(np.float32), rng)

    def rows(some: Sequence[Features], mirror: bool) -> Matrix:
        return np.stack([_vlad_row(f, mirror, centre, axes, words) for f in some])

    seen = np.concatenate([rows(sample, side) for side in (False, True)])
    _, main = principal_axes(seen, VECTOR_AXES, centred=False)

    def shortened(start: int) -> tuple[Matrix, Matrix]:
        block = features[start : start + BLOCK]
        return _unit_rows(rows(block, False) @ main), _unit_rows(rows(block, True) @ main)

    blocks = on_each(shortened, range(0, len(features), BLOCK), workers, "vectors")
    plain, turned = zip(*blocks, strict=True)
    return np.concatenate(plain), np.concatenate(turned)


def vocabulary(sample: Matrix, rng: np.random.Generator) -> Matrix:
    """Visual words (W, d): `ROUNDS` of Lloyd's k-means (1982) on a sample (K, d)."""
    words = sample[rng.permutation(len(sample))[:WORDS]]
    for _ in range(ROUNDS):
        word = nearest_word(sample, words)
        count = np.bincount(word, minlength=len(words))
        total = np.stack([np.bincount(word, axis, len(words)) for axis in sample.T], axis=1)
        filled = count > 0
        words[filled] = total[filled] / count[filled, None]
    return words


def nearest_word(local: Matrix, words: Matrix) -> NDArray[np.intp]:
    """Index of the nearest word (W, d) of each row (K, d)."""
    return ((words**2).sum(axis=1) - 2 * local @ words.T).argmin(axis=1)


def _vlad_row(f: Features, mirror: bool, centre: Matrix, axes: Matrix, words: Matrix) -> Matrix:
    raw = mirrored(f.descriptors) if mirror else f.descriptors
    return vlad(np.asarray((unit(raw) - centre) @ axes, np.float32), words)


def vlad(local: Matrix, words: Matrix) -> Matrix:
    """Normalised sum of residuals to the nearest word: local (K, d), words (W, d) → (W·d,)."""
    out = np.zeros(words.shape, np.float32)
    if len(local):
        word = nearest_word(local, words)
        np.add.at(out, word, local - words[word])
    length = np.linalg.norm(out, axis=1, keepdims=True)
    out = out / np.maximum(length, 1e-6)
    return (out / max(float(np.linalg.norm(out)), 1e-6)).astype(np.float32).ravel()


def principal_axes(rows: Matrix, count: int, *, centred: bool = True) -> tuple[Matrix, Matrix]:
    """Mean (D,) and the `count` main axes (D, count) of rows (N, D)."""
    centre = rows.mean(axis=0) if centred else np.zeros(rows.shape[1], np.float32)
    moved = rows - centre
    if len(moved) < moved.shape[1]:  # the small Gram matrix has the same non-zero spectrum
        values, vectors = np.linalg.eigh(moved @ moved.T)
        vectors = moved.T @ (vectors / np.sqrt(np.maximum(values, 1e-6)))
    else:
        _, vectors = np.linalg.eigh(moved.T @ moved)
    return centre, np.ascontiguousarray(vectors[:, ::-1][:, :count], np.float32)


def _unit_rows(rows: Matrix) -> Matrix:
    scaled: Matrix = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return scaled.astype(np.float32)
