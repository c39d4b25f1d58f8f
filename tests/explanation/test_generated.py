"""Maps scored on synthetic images, whose lesion the generator drew."""

import numpy as np
import pytest
import torch
from toy_networks import Toy, blob_images

from sonobalance.config import ExplanationSettings
from sonobalance.data.loading import LabelledImages, Outlines
from sonobalance.explanation.generated import on_generated

SIDE, N = 28, 12


@pytest.mark.parametrize("mirror", [False, True])
def test_a_map_of_a_network_that_sees_the_lesion_lies_on_what_was_drawn(mirror):
    """The network calls what is bright malignant, and bright is the lesion."""
    images, masks = blob_images(N, SIDE)
    drawn = LabelledImages(
        ((images + 1) * 127.5).round().to(torch.uint8), torch.ones(N, dtype=torch.int64),
        tuple(f"r1-{i}" for i in range(N)), ("benign", "malignant"),
        Outlines(masks[:, None].byte() * 255, torch.ones(N, dtype=torch.bool)),
    )  # fmt: skip
    model = Toy([1.0, 0.0], [[-100.0, 0.0], [100.0, 0.0]])

    def scored(p):
        return on_generated(
            model, model.layer, drawn, np.tile(p, (N, 1)),
            ExplanationSettings(batch_size=5, resamples=200), seed=0, mirror=mirror,
        )  # fmt: skip

    found = scored([0.4, 0.6])
    assert found["n"] == N
    assert found["maps"]["grad-cam"]["pointing_game"]["value"] == 1
    assert found["controls"]["random"]["pointing_game"]["value"] < 0.7
    assert set(found["controls"]) == {"random", "centre", "contrast"}
    other = scored([0.6, 0.4])  # what is predicted is explained
    assert other["maps"]["grad-cam"]["pointing_game"]["value"] == 0
