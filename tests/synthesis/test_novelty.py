"""Copies of TRAIN images are caught however they are disguised; other patients' images pass."""

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, shift

from sonobalance.data.images import letterbox
from sonobalance.data.loading import LabelledImages
from sonobalance.data.phantoms import KINDS, phantom
from sonobalance.synthesis.likeness import likeness, nearest, relative_free
from sonobalance.synthesis.novelty import Diversity, Novelty

SIDE = 64
TRAIN, UNSEEN = 90, 60


def phantoms(n: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    images = [letterbox(phantom(KINDS[i % 3], rng, SIDE)[0], SIDE) for i in range(n)]
    return torch.from_numpy(np.stack(images))[:, None]


TRAIN_SET = LabelledImages(
    phantoms(TRAIN, 1), torch.arange(TRAIN) % 3, tuple(map(str, range(TRAIN))), KINDS
)


def calibrated(train: LabelledImages) -> Novelty:
    return Novelty.calibrated(train, train.ids, caught_copies=0.995, false_copies=0.03, seed=0)


@pytest.fixture(scope="module")
def novelty() -> Novelty:
    return calibrated(TRAIN_SET)


def cropped(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = round(0.9 * SIDE)
    top, left = rng.integers(0, SIDE - side + 1, 2)
    return cv2.resize(image[top : top + side, left : left + side], (SIDE, SIDE))


def shifted(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return shift(image, rng.choice([-4, -3, -1, 2, 4], 2), order=0, mode="nearest")


def toned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    gain, contrast = rng.choice([0.85, 1.15], 2)
    return np.clip((image * gain - 128) * contrast + 128, 0, 255)


DISGUISES = {
    "exact": lambda image, rng: image,
    "mirrored": lambda image, rng: image[:, ::-1],
    "shifted": shifted,
    "cropped": cropped,
    "toned": toned,
    "blurred": lambda image, rng: gaussian_filter(image, 1.0),
    "noisy": lambda image, rng: np.clip(image + rng.normal(0, 10, image.shape), 0, 255),
}


def test_at_least_99_percent_of_disguised_copies_are_refused(novelty):
    rng = np.random.default_rng(5)
    for name, disguise in DISGUISES.items():
        images = [disguise(x[0].numpy().astype(float), rng) for x in TRAIN_SET.pixels]
        copies = torch.from_numpy(np.stack(images).round().astype(np.uint8))[:, None]
        score, original = novelty.score(copies)
        refused = score < novelty.threshold.value
        assert refused.mean() >= 0.99, name
        assert (original == torch.arange(TRAIN)).float().mean() >= 0.95, name


def test_at_most_5_percent_of_unseen_patients_are_refused(novelty):
    score, _ = novelty.score(phantoms(UNSEEN, 2))
    assert np.mean(score < novelty.threshold.value) <= 0.05


def test_undetected_relatives_do_not_open_the_gate(novelty):
    """A third of TRAIN repeated under other groups must not make copies look usual."""
    doubled = TRAIN_SET.join(TRAIN_SET.take(range(30)))
    doubled = LabelledImages(
        doubled.pixels, doubled.targets, tuple(map(str, range(TRAIN + 30))), KINDS
    )
    other = calibrated(doubled)
    assert other.threshold.real_pass < 0.6  # and the record says how many real images look copied
    score, _ = other.score(doubled.pixels.flip(3))
    assert np.mean(score < other.threshold.value) >= 0.99


def test_twins_are_counted_among_themselves(novelty):
    diversity = Diversity(novelty.threshold, "cpu")
    five = phantoms(5, 3)
    _, itself = diversity.tables(five.repeat(4, 1, 1, 1), five[:0])
    assert diversity.twin_share(itself, 32) == pytest.approx(15 / 20)
    assert diversity.twin_share(itself, 10) == pytest.approx(5 / 10)
    assert diversity.twin_share(itself, 5) == 0


def test_relatives_do_not_count_as_neighbours():
    table = torch.tensor([[1.0, 0.9, 0.2], [0.9, 1.0, 0.4], [0.2, 0.4, 1.0]])
    distance, column = nearest(relative_free(table, ("a", "a", "b")))
    assert column.tolist() == [2, 2, 1]
    assert distance.tolist() == pytest.approx([0.8, 0.6, 0.6])


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


def test_likeness_is_the_best_correlation_over_windows():
    """Against a direct search on the same 32 px images, without magnification."""
    from sonobalance.synthesis.likeness import REACH, SIDE, _normalised

    pixels = phantoms(4, 7)
    small = _normalised(pixels).half().numpy().astype(np.float64)
    width = SIDE - 2 * REACH
    found = likeness(pixels[:1], pixels[1:]).numpy()[0]
    template = small[0, REACH:-REACH, REACH:-REACH]
    for image, value in zip(small[1:], found, strict=True):
        direct = max(
            correlation(template, version[top : top + width, left : left + width])
            for version in (image, image[:, ::-1])
            for top in range(2 * REACH + 1)
            for left in range(2 * REACH + 1)
        )
        assert value >= direct - 1e-4  # magnified versions may be more alike


@given(st.floats(0.5, 1.5), st.integers(-30, 30))
@settings(max_examples=15, deadline=None)
def test_likeness_ignores_gain_and_brightness(gain, brightness):
    image = phantoms(1, 9).float() * 0.4 + 60
    altered = (image - 80) * gain + 80 + brightness
    one, other = (x.round().clamp(0, 255).to(torch.uint8) for x in (image, altered))
    assert likeness(one, other).item() > 0.97
