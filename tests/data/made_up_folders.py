"""Small folders of images on disk, shared by the tests of readers."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sonobalance.config import DataSettings
from sonobalance.data.sources import index_folder
from sonobalance.errors import InputError

BUSI = Path(__file__).parents[3] / "shared" / "data" / "Dataset_BUSI_with_GT"
AUTO = DataSettings()


def draw(path, size=(24, 20), value=None):
    """An image of its own content, unless `value` fills it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(list(str(path).encode()))
    filled = rng.integers(0, 256, size[::-1], np.uint8)
    Image.fromarray(filled if value is None else np.full(size[::-1], value, np.uint8)).save(path)
    return path


def busi(root, classes=("benign", "malignant", "normal"), each=3):
    for name in classes:
        for i in range(1, each + 1):
            draw(root / name / f"{name} ({i}).png")
            draw(root / name / f"{name} ({i})_mask.png", value=255 * (name != "normal"))
    return root


def index(root, **settings):
    return index_folder(root, DataSettings(**settings))


def kinds(skipped):
    return {s.path: s.kind for s in skipped}


def write_index(root, rows, name="index.csv", delimiter=",", header="path,label,patient,mask"):
    text = "\n".join([header.replace(",", delimiter), *(delimiter.join(row) for row in rows)])
    (root / name).write_text(text + "\n", encoding="utf-8-sig")
    return root / name


def refused(root, pattern, **settings):
    with pytest.raises(InputError, match=pattern) as caught:
        index(root, **settings)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 600
