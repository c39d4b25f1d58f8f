"""What the stage gathers: the other arm, and how unlike TRAIN an image is."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from sonobalance import explaining
from sonobalance.classify.networks import AttentiveClassifier
from sonobalance.classify.predict import Predictor
from sonobalance.data.loading import LabelledImages
from sonobalance.data.manifest import Manifest, Record
from sonobalance.explaining import originals_of


@pytest.mark.parametrize(
    ("arm", "arms", "other"),
    [
        ("none", ("none", "dual-iterative"), "dual-iterative"),
        ("dual-iterative", ("class-weights", "none", "dual-iterative"), "none"),
        ("none", ("none", "dual-one-shot", "dual-iterative"), "dual-iterative"),
        ("class-weights", ("none", "class-weights"), "none"),
        ("dual-iterative", ("none", "over-sampling", "dual-iterative"), "over-sampling"),
        ("over-sampling", ("none", "over-sampling", "dual-iterative"), "dual-iterative"),
        ("none", ("none", "over-sampling", "dual-iterative"), "over-sampling"),
        ("over-sampling", ("none", "over-sampling"), "none"),
        ("none", ("none",), None),
    ],
)
def test_the_other_side_of_before_and_after(arm, arms, other):
    assert explaining._other(arm, arms) == other


def speckled(count, prefix, level=110):
    rng = torch.Generator().manual_seed(len(prefix) + count)
    pixels = (torch.randn(count, 1, 64, 64, generator=rng) * 30 + level).clamp(0, 255).byte()
    ids = tuple(f"{prefix}{i}" for i in range(count))
    return LabelledImages(pixels, torch.arange(count) % 2, ids, ("benign", "malignant"))


def test_an_image_of_another_kind_is_strange(monkeypatch):
    torch.manual_seed(0)
    model = AttentiveClassifier("test_resnet", 2, "none", 64).eval()
    predictor = Predictor(model, ("benign", "malignant"), 64, 1.0, False, {})
    images = speckled(4, "test").join(
        LabelledImages(
            torch.full((1, 1, 64, 64), 255).byte(), torch.tensor([0]), ("white",),
            ("benign", "malignant"),
        )
    )  # fmt: skip
    monkeypatch.setattr(explaining, "load_images", lambda *_: speckled(12, "val"))
    colours = {"val": [0.0] * 12, "test": [0.0, 0.9, 0.0, 0.0, 0.0]}
    monkeypatch.setattr(explaining, "colours_of", colours.get)
    splits = SimpleNamespace(of=lambda part: part)
    found = explaining._strangeness(splits, predictor, speckled(24, "train"), images)
    assert set(found) == set(images.ids)
    assert found["white"] > 0.5
    assert found["test1"] > 0.9  # by its colour
    rest = found.keys() - {"white", "test1"}
    assert all(0 <= found[key] < 0.65 for key in rest)
    assert explaining._strangeness(splits, predictor, speckled(3, "few"), images) == {}


def test_each_frame_of_a_clip_is_explained_with_its_own_mask(tmp_path):
    def stack(name, pages):
        first, *others = [Image.fromarray(page) for page in pages]
        first.save(tmp_path / name, save_all=True, append_images=others)

    stack("clip.tiff", [np.full((20, 20), 40 * i, np.uint8) for i in range(3)])
    stack("mask.tiff", [np.eye(20, k=i, dtype=np.uint8) * 255 for i in range(3)])
    records = tuple(
        Record(f"clip#{i}", "clip.tiff", "benign", masks=("mask.tiff",), frame=i) for i in range(3)
    )
    originals, masks = originals_of(Manifest(records, tmp_path))
    for i, (image, mask) in enumerate(zip(originals, masks, strict=True)):
        assert (image == 40 * i).all()
        assert np.array_equal(mask, np.eye(20, k=i) > 0)
