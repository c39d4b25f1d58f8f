"""Measures of generated masks, against cases known by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sonobalance.data.loading import LabelledImages, Outlines


def square(*, piece: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A dark square of 8 x 8 in 32 x 32, its mask, and on request a loose corner of 4 x 4."""
    pixels, mask = np.full((32, 32), 120, np.uint8), np.zeros((32, 32), bool)
    pixels[8:16, 8:16], mask[8:16, 8:16] = 20, True
    if piece:
        pixels[24:28, 24:28], mask[24:28, 24:28] = 20, True
    return pixels, mask


def test_a_dark_square_fills_its_share_in_one_piece(module):
    area, piece, darker = module("mask_value")._look(*square())
    assert (area, piece, darker) == (64 / 1024, 1.0, 100.0)
    assert module("mask_value")._look(*square(piece=True))[1] == 64 / 80


def test_dice_is_one_for_the_same_and_none_for_an_empty_outline(module):
    _, mask = square()
    found = module("mask_value").dice(np.stack([mask, ~mask, mask & False]), np.stack([mask] * 3))
    assert found.tolist() == [1.0, 0.0, 0.0]


def test_only_images_with_a_lesion_are_resampled(module):
    pixels, mask = square()
    masks = torch.from_numpy(np.stack([mask, mask & False, mask])[:, None].astype(np.uint8) * 255)
    images = LabelledImages(
        torch.from_numpy(np.stack([pixels] * 3)[:, None]), torch.tensor([0, 1, 0]), ("a", "b", "c"),
        ("benign", "normal"), Outlines(masks, torch.ones(3, dtype=torch.bool)),
    )  # fmt: skip
    script = module("mask_value")
    seen = script.Seen([torch.zeros(3, 4, 4, 4)], masks)
    judge = script.Judge(seen, script.inside(images), np.array(["x", "y", "z"]))
    assert judge.weights().shape[1] == 2
    told = script.plausibility(images)
    assert told["benign"]["with_mask"] == 1.0
    assert told["normal"] == {
        "n": 1, "with_mask": 0.0, "area_share": None, "largest_piece": None, "darker_inside": None,
    }  # fmt: skip
    assert told["benign"]["darker_inside"] == pytest.approx(100.0)
