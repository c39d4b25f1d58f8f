"""A folder with known copies of a folder of phantoms."""

import csv

import cv2
import numpy as np
import pytest

from sonobalance.data.images import write_png
from sonobalance.data.phantoms import KINDS, phantom
from sonobalance.errors import InputError
from sonobalance.files import read_json
from sonobalance.synthesis.memorisation import audit_memorisation

REAL, STRANGERS, COPIES = 40, 15, 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("memorisation"), np.random.default_rng(0)
    for i in range(REAL + STRANGERS):
        image, _ = phantom(KINDS[i % 3], rng, 64)
        name = f"real/{i:02d}.png" if i < REAL else f"synthetic/stranger-{i:02d}.png"
        write_png(root / name, image)
        if i < COPIES:
            blurred = cv2.GaussianBlur(image[:, ::-1], (0, 0), 0.8)
            write_png(root / f"synthetic/copy-{i:02d}.png", blurred)
            write_png(root / f"real/{i:02d}_mask.png", np.zeros_like(image))
    return root


def test_copies_are_named_with_their_originals(folders):
    document = audit_memorisation(folders / "synthetic", folders / "real", folders / "out")
    with (folders / "out/memorisation.csv").open(newline="") as handle:
        rows = {row["file"]: row for row in csv.DictReader(handle)}
    assert len(rows) == STRANGERS + COPIES
    for i in range(COPIES):
        row = rows[f"copy-{i:02d}.png"]
        assert (row["nearest"], row["copy"]) == (f"{i:02d}.png", "true")
        assert float(row["ratio"]) < 0.3
    strangers = [row for name, row in rows.items() if name.startswith("stranger")]
    assert sum(row["copy"] == "true" for row in strangers) <= 1
    assert document == read_json(folders / "out/memorisation.json")
    assert document["real"] == REAL
    assert document["closest"][0]["file"].startswith("copy")
    assert "more than chance explains" in document["verdict"]


def test_empty_folders_are_refused(folders, tmp_path):
    with pytest.raises(InputError, match="Expected images below"):
        audit_memorisation(tmp_path, folders / "real", tmp_path / "out")
    assert not (tmp_path / "out").exists()
