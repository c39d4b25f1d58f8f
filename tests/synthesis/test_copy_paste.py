"""Lesions of the rarer class in other images: what is kept, what is new, and what must not be."""

import numpy as np
import pytest
import torch

from sonobalance import CopyPasteBalancer
from sonobalance.data.loading import LabelledImages, Outlines
from sonobalance.errors import InputError, SettingsError
from sonobalance.synthesis.copy_paste import LARGEST_SHIFT, MOST_USES, copy_paste

SIDE = 96
BARS = 12  # black rows above and below each image
CLASSES = ("benign", "malignant", "normal")
SURROUNDINGS = {"benign": 90, "malignant": 80, "normal": 120}
LESION = {"benign": 60, "malignant": 20}


def picture(
    label: str, seed: int, bars: int = BARS, column: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Grey tissue of the class's own shade and, but for normal, a disc as its lesion."""
    random = np.random.default_rng(seed)
    grey = np.full((SIDE, SIDE), SURROUNDINGS[label], np.uint8)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    place = random.uniform(0.4, 0.6, 2) * SIDE
    place[1] = place[1] if column is None else column
    away = np.hypot(rows - place[0], columns - place[1])
    mask = (away < (8 if label == "benign" else 11)) & (label in LESION)
    grey[mask] = LESION.get(label, 0)
    grey[:bars] = grey[SIDE - bars :] = 0
    return grey, (255 * mask).astype(np.uint8)


def made_set(
    counts: tuple[int, int, int], known: bool = True, **of_benign: float
) -> LabelledImages:
    labels = [name for name, n in zip(CLASSES, counts, strict=True) for _ in range(n)]
    planes = [
        picture(label, i, **(of_benign if label == "benign" else {}))
        for i, label in enumerate(labels)
    ]
    pixels, masks = (
        torch.from_numpy(np.stack(part))[:, None] for part in zip(*planes, strict=True)
    )
    return LabelledImages(
        pixels, torch.tensor([CLASSES.index(label) for label in labels]),
        tuple(f"{label}{i}" for i, label in enumerate(labels)), CLASSES,
        Outlines(masks, torch.full((len(labels),), known)),
    )  # fmt: skip


@pytest.fixture(scope="module")
def made() -> LabelledImages:
    return copy_paste(made_set((14, 4, 6)), seed=0)


def test_the_rarer_class_with_lesions_reaches_the_largest(made):
    assert made.targets.bincount(minlength=3).tolist() == [0, 10, 0]  # normal ones have no lesion
    assert made.pixels.shape == (10, 1, SIDE, SIDE)
    assert made.pixels.dtype == torch.uint8
    assert made.classes == CLASSES
    assert len(set(made.ids)) == 10


def test_the_lesion_is_dark_where_its_outline_says_so_and_has_no_bars(made):
    assert made.outlines is not None
    assert bool(made.outlines.known.all())
    for pixels, mask in zip(made.pixels[:, 0], made.outlines.masks[:, 0], strict=True):
        inside = pixels[mask > 127].float()
        assert len(inside) > 100
        assert LESION["malignant"] - LARGEST_SHIFT <= inside.median() < 50
        assert int(pixels[: BARS - 1].max()) == int(pixels[-BARS + 1 :].max()) == 0


def test_what_surrounds_it_is_of_another_class_and_its_own_lesion_is_hidden(made):
    for name, pixels, mask in zip(
        made.ids, made.pixels[:, 0], made.outlines.masks[:, 0], strict=True
    ):
        other = name.split(" in ")[1].split()[0]
        shade = SURROUNDINGS["benign" if other.startswith("benign") else "normal"]
        assert not other.startswith("malignant")
        corner = pixels[BARS : BARS + 8, :8]
        assert bool((corner == shade).all())
        still_benign = (pixels == LESION["benign"]) & (mask == 0)
        assert int(still_benign.sum()) < 30


@pytest.mark.parametrize("benign", [
    {"bars": 36},  # as high as a lesion
    {"bars": 0, "column": 10},  # a lesion set there is cut off by the edge of the square
])  # fmt: skip
def test_the_outline_is_of_what_shows_of_the_lesion_up_to_the_edge(benign):
    made = copy_paste(made_set((14, 4, 0), **benign), seed=0)
    assert len(made) == 10
    for pixels, mask in zip(made.pixels[:, 0], made.known_outlines().masks[:, 0], strict=True):
        assert int(mask[: benign["bars"]].sum()) == 0
        assert int(pixels[: benign["bars"]].sum()) == 0
        shown = pixels[mask > 127]
        assert (
            int(shown.max()) < (LESION["malignant"] + SURROUNDINGS["malignant"]) / 2 + LARGEST_SHIFT
        )
    if "column" in benign:
        assert bool((made.known_outlines().masks[:, 0, :, 0] > 127).any())


def test_each_lesion_is_used_equally_often_and_not_too_often():
    made = copy_paste(made_set((60, 2, 30)), seed=0)
    used = [name.split(" in ")[0] for name in made.ids]
    counts = np.unique(used, return_counts=True)[1]
    assert counts.max() <= MOST_USES
    assert counts.max() - counts.min() <= 2
    assert len(made) < 58


def test_the_same_seed_gives_the_same_images_and_another_others(made):
    again = copy_paste(made_set((14, 4, 6)), seed=0)
    assert again.ids == made.ids
    assert torch.equal(again.pixels, made.pixels)
    assert copy_paste(made_set((14, 4, 6)), seed=1).ids != made.ids


@pytest.mark.parametrize("images", [
    made_set((5, 3, 4), known=False),  # who knows what else those images show
    made_set((0, 5, 0)),
    made_set((4, 0, 2)),
])  # fmt: skip
def test_without_masks_rarer_lesions_or_surroundings_there_are_none(images):
    made = copy_paste(images, seed=0)
    assert len(made) == 0
    assert made.pixels.shape == (0, 1, SIDE, SIDE)


def test_the_balancer_returns_real_images_then_made_ones_with_masks():
    train = made_set((14, 4, 6))
    images, masks = train.pixels[:, 0].numpy(), train.known_outlines().masks[:, 0].numpy()
    labels = np.array([10 * k for k in train.targets.tolist()])
    balancer = CopyPasteBalancer(image_size_px=SIDE)
    pixels, balanced = balancer.fit_resample(images, labels, masks=masks)
    assert np.array_equal(pixels[:24], images)
    assert balanced.dtype == labels.dtype
    assert balanced.tolist() == [*labels.tolist(), *[10] * 10]
    assert balancer.sample_is_synthetic_.tolist() == [False] * 24 + [True] * 10
    assert balancer.sample_masks_.shape == pixels.shape
    assert balancer.sample_masks_[24:].any((1, 2)).all()
    assert len(balancer.sample_ids_) == 34


def test_the_balancer_refuses_a_side_that_no_classifier_has():
    image = np.zeros((40, 40), np.uint8)
    with pytest.raises(SettingsError, match="image_size_px to be 32 to 1024, but got 0"):
        CopyPasteBalancer(image_size_px=0).fit_resample([image], [0], masks=[None])


def test_the_balancer_refuses_masks_that_do_not_fit():
    image = np.zeros((40, 40), np.uint8)
    with pytest.raises(InputError, match="mask or None for each of 2"):
        CopyPasteBalancer().fit_resample([image, image], [0, 1], masks=[image])
    with pytest.raises(InputError, match=r"mask 1 to be \(40, 40\) .* \(20, 40\)"):
        CopyPasteBalancer().fit_resample([image, image], [0, 1], masks=[None, image[:20]])
