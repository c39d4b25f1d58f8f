"""Pixels and lesions of a manifest come back in one geometry."""

import numpy as np
import torch
from PIL import Image

from sonobalance.data.loading import load_images
from sonobalance.data.manifest import Manifest, Record


def test_outlines_lie_on_their_images(tmp_path):
    image = np.full((40, 80), 90, np.uint8)
    image[10:30, 20:60] = 200
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(np.where(image == 200, 255, 0).astype(np.uint8)).save(tmp_path / "m.png")
    Image.fromarray(np.zeros((40, 80), np.uint8)).save(tmp_path / "empty.png")
    records = tuple(
        Record(id=key, path="a.png", label=label, masks=masks)
        for key, label, masks in (
            ("with", "b", ("m.png",)), ("none", "b", ()), ("empty", "a", ("empty.png",)),
        )
    )  # fmt: skip
    loaded = load_images(Manifest(records, tmp_path), 32, ("a", "b"), outlines=True)
    masks, known = loaded.outlines.masks, loaded.outlines.known
    assert known.tolist() == [True, False, True]
    assert masks[1:].sum() == 0
    assert torch.equal(masks[0] > 127, loaded.pixels[0] > 145)
    assert (masks[0] > 127).sum() == 8 * 16  # 20 x 40 pixels at 32 / 80
    assert load_images(Manifest(records, tmp_path), 32, ("a", "b")).outlines is None
