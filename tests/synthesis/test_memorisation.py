"""Folders with known copies of phantoms: altered, resized, in other formats, among others."""

import csv

import cv2
import numpy as np
import pytest
from PIL import Image

from sonobalance import memorisation
from sonobalance.data.images import write_png
from sonobalance.data.phantoms import KINDS, phantom
from sonobalance.errors import InputError
from sonobalance.files import read_json
from sonobalance.reporting.memorisation_page import write_memorisation_page
from sonobalance.synthesis.image_folders import find_real

REAL, STRANGERS = 36, 30


def crop(image, share):
    height, width = (round(share * n) for n in image.shape)
    return image[2 : 2 + height, 1 : 1 + width]


def moved(image, x, y):
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(image, matrix, image.shape[::-1])


def noisy(image, sigma=12):
    noise = np.random.default_rng(3).normal(0, sigma, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def letterboxed(image, side=64):
    """A wide image in a square with black bars above and below."""
    inner = cv2.resize(image, (side, side * 3 // 4), interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(inner, side // 8, side // 8, 0, 0, cv2.BORDER_CONSTANT)


ALTERATIONS = {
    "exact": lambda x: x,
    "mirrored": lambda x: x[:, ::-1],
    "shifted": lambda x: moved(x, 5, -4),
    "cropped": lambda x: crop(x, 0.9),
    "brighter": lambda x: cv2.convertScaleAbs(x, alpha=1.15, beta=10),
    "flatter": lambda x: cv2.convertScaleAbs(x, alpha=0.8, beta=30),
    "noisy": noisy,
    "blurred": lambda x: cv2.GaussianBlur(x, (0, 0), 1.5),
    "small": lambda x: cv2.resize(x, (64, 64), interpolation=cv2.INTER_AREA),
    "large": lambda x: cv2.resize(x, (300, 200)),
    "letterboxed": letterboxed,
    "letterboxed and noisy": lambda x: noisy(letterboxed(x)),
    "mirrored crop, smaller": lambda x: cv2.resize(crop(x, 0.85)[:, ::-1], (80, 60)),
}
SUFFIXES = (".png", ".jpg", ".bmp", ".tif")


def wide(rng, kind):
    return cv2.resize(phantom(kind, rng, 128)[0], (128, 96), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("memorisation"), np.random.default_rng(0)
    for i in range(REAL):
        image = wide(rng, KINDS[i % 3])
        write_png(root / f"real/{KINDS[i % 3]}/{i:02d}.png", image)
        write_png(root / f"real/{KINDS[i % 3]}/{i:02d}_mask.png", np.zeros_like(image))
        for n, (name, alter) in enumerate(ALTERATIONS.items()):
            if i % len(ALTERATIONS) != n:
                continue
            path = root / f"synthetic/some class/copy-{i:02d}-{name}{SUFFIXES[i % 4]}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.ascontiguousarray(alter(image))).save(path)
    for i in range(STRANGERS):
        write_png(root / f"synthetic/stranger-{i:02d}.png", wide(rng, KINDS[i % 3]))
    (root / "synthetic/broken.png").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def audited(folders):
    page = memorisation(folders / "synthetic", real=folders / "real", out=folders / "out")
    with (folders / "out/memorisation.csv").open(newline="") as handle:
        reader = csv.DictReader(handle)
        assert reader.fieldnames == ["file", "nearest", "distance", "ratio", "copy"]
        return page, list(reader)


def test_every_copy_is_named_with_its_original(audited):
    copies = [row for row in audited[1] if "copy-" in row["file"]]
    assert len(copies) == REAL
    for row in copies:
        number = row["file"].split("copy-")[1][:2]
        assert row["copy"] == "true", row
        assert row["nearest"].endswith(f"/{number}.png"), row
        assert float(row["ratio"]) < 0.6


def test_honest_images_are_left_alone(audited):
    honest = [row for row in audited[1] if "stranger" in row["file"]]
    assert len(honest) == STRANGERS
    assert sum(row["copy"] == "true" for row in honest) <= 1


def test_the_document_states_verdict_and_false_alarms(folders, audited):
    document = read_json(folders / "out/memorisation.json")
    assert document["real"] == REAL
    assert document["synthetic"] == REAL + STRANGERS
    assert document["copies"] == sum(row["copy"] == "true" for row in audited[1])
    assert "more than chance explains" in document["verdict"]
    assert f"{document['false_alarm_rate']:.1%}" in document["verdict"]
    assert list(document["unreadable"]["synthetic"]) == ["broken.png"]
    assert len(document["closest"]) == 10


def test_each_measure_has_its_nearest_image(folders, audited):
    with (folders / "out/neighbours.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 3 * (REAL + STRANGERS)
    exact = {r["measure"]: r for r in rows if r["file"].endswith("copy-00-exact.png")}
    assert {r["nearest"] for r in exact.values()} == {f"{KINDS[0]}/00.png"}
    assert all(float(r["distance"]) == pytest.approx(0, abs=1e-3) for r in exact.values())


def test_the_page_is_offline_and_shows_the_pairs(audited):
    text = audited[0].read_text(encoding="utf-8")
    assert text.count("looks copied</strong>") == 10
    assert text.count("data:image/jpeg;base64") == 20
    assert "http" not in text.replace("http-equiv", "")


def test_the_page_calls_only_copies_copied(folders, audited, tmp_path):
    document = read_json(folders / "out/memorisation.json")
    for i, row in enumerate(document["closest"]):
        row["copy"] = i < 3
    page = write_memorisation_page(document, folders / "synthetic", folders / "real", tmp_path)
    assert page.read_text(encoding="utf-8").count("looks copied</strong>") == 3


def test_images_inside_the_real_folder_are_not_compared_with_themselves(folders):
    within = find_real(folders, without=folders / "synthetic")
    assert len(within) == REAL
    assert not any(name.startswith("synthetic") or "_mask" in name for name in within.names)


def test_empty_folders_are_refused(folders, tmp_path):
    with pytest.raises(InputError, match="Expected images below"):
        memorisation(tmp_path, real=folders / "real", out=tmp_path / "out")
    with pytest.raises(InputError, match="there is none"):
        memorisation(tmp_path / "absent", real=folders / "real", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
