"""Maps scored on synthetic images, whose lesion the generator drew."""

from dataclasses import replace

import torch
from toy_networks import Toy, blob_images

from sonobalance.config import ExplanationSettings
from sonobalance.data.loading import LabelledImages, Outlines
from sonobalance.explanation.generated import on_generated

SIDE, N = 28, 12
FAST = ExplanationSettings(target="true", batch_size=5, resamples=200, generated_images=8)


def drawn() -> LabelledImages:
    """Bright lesions on all images; on half of them the generator drew none."""
    images, masks = blob_images(N, SIDE)
    outlines = masks[:, None].byte() * 255
    outlines[N // 2 :] = 0
    pixels = ((images + 1) * 127.5).round().to(torch.uint8)
    return LabelledImages(
        pixels, torch.ones(N, dtype=torch.int64), tuple(f"r1-{i}" for i in range(N)),
        ("benign", "malignant"), Outlines(outlines, torch.ones(N, dtype=torch.bool)),
    )  # fmt: skip


def scored(images: LabelledImages, settings: ExplanationSettings = FAST):
    model = Toy([1.0, 0.0], [[-100.0, 0.0], [100.0, 0.0]])
    return on_generated(model, model.layer, images, settings, seed=0, mirror=False)


def test_a_map_of_a_network_that_sees_the_lesion_lies_on_what_was_drawn():
    found = scored(drawn())
    assert found is not None
    assert found["n"] == N // 2
    assert found["maps"]["grad-cam"]["pointing_game"]["value"] == 1
    assert found["controls"]["random"]["pointing_game"]["value"] < 0.7
    assert set(found["controls"]) == {"random", "centre", "contrast"}


def test_only_so_many_are_taken_and_always_the_same():
    few = FAST.model_copy(update={"generated_images": 3})
    found = scored(drawn(), few)
    assert found is not None
    assert found["n"] == 3
    assert scored(drawn(), few) == found


def test_images_without_a_drawn_lesion_say_nothing():
    assert scored(replace(drawn(), outlines=None)) is None
